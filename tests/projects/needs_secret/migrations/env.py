import os

os.environ["SECRET_KEY_OF_THE_APPLICATION"]
