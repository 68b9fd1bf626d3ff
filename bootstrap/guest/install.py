#!/usr/bin/python3 -IS
"""Put what lies beside this file into the guest, show whether it is as it was put there, or take it away again."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from moltguest.install.main import main  # noqa: E402 - found beside this file

sys.exit(main(sys.argv[1:]))
