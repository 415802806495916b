"""Writes the rules with the default objectives anew."""

from lmserve.monitoring.rules.files import FOLDER, write

if __name__ == "__main__":
    write(FOLDER)
