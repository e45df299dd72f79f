"""The same plugin with its options as ``--alignmeter-…`` only: ``-p alignmeter.plugin.prefixed``.

For where another plugin or a conftest has an option of one of the short names.
"""

from alignmeter.plugin import pytest_plugins as pytest_plugins
