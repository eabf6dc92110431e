"""The hazards that dbctl knows: one small function each, its facts beside it."""
