"""``python -m alignmeter``: the command, where its script is not installed."""

import sys

if __name__ == "__main__":
    # Python put the working directory first on the path, before all that is installed; a file
    # named random.py there is none of ours. With -P or PYTHONSAFEPATH it has not.
    if not sys.flags.safe_path:
        del sys.path[0]
    from alignmeter.cli import main

    sys.argv[0] = "alignmeter"
    main()
