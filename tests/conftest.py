"""The fixtures live in tests/fixtures/, one module a kind."""

pytest_plugins = ["tests.fixtures.server", "tests.fixtures.database", "tests.fixtures.cli"]
