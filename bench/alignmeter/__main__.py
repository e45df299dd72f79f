"""``python -m alignmeter``: the command, where its script is not installed."""

import sys

from alignmeter.cli import main

if __name__ == "__main__":
    sys.argv[0] = "alignmeter"
    main()
