"""How the pages become a site: Sphinx with MyST and furo. Nothing is fetched while it is built."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed

from surefoot.core import events, job, names

project = "surefoot"
author = "the surefoot authors"
copyright = author
release = version = installed("surefoot")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "README.md"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"collections\.abc\..*")]  # Python's own pages are not fetched
default_role = "code"
highlight_language = "text"

myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # redis-cli lines and shell transcripts are no language of Pygments

for module in (events, job):  # msgspec evaluates annotations that these modules import for type checkers only
    vars(module).update(vars(names), Mapping=Mapping, Sequence=Sequence)

autodoc_typehints = "none"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "surefoot"
html_copy_source = False
html_show_sphinx = False
html_show_sourcelink = False
