"""Fixtures that every file of this folder may ask for: the shops of the command line, and what workers left in them."""

from tests.doors.cli_shop import any_shop as any_shop
from tests.doors.cli_shop import file_shop as file_shop
from tests.doors.cli_shop import ids as ids
from tests.doors.cli_shop import left_in_a_file as left_in_a_file
from tests.doors.cli_shop import left_on_a_server as left_on_a_server
from tests.doors.cli_shop import server as server
from tests.doors.cli_shop import shop as shop
