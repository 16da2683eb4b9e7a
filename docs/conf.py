"""Configures the documentation site: sphinx-build -W --keep-going docs docs/_build."""

import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER / "extensions"))

import external  # noqa: E402
import reference  # noqa: E402

import recur  # noqa: E402

project = "recur"
author = "The recur authors"
copyright = author
version = release = recur.__version__
html_title = project

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "myst_nb",
    "docstrings",
    "notebook_links",
    "reference",
    "signatures",
]
exclude_patterns = ["_build", "extensions", "notebooks/README.md"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}

# Single backticks in docstrings are code, and a link where they name a public object.
default_role = "py:obj"
nitpicky = True
nitpick_ignore = external.TYPE_VARIABLES
intersphinx_mapping = external.mapping()
intersphinx_timeout = 10

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are kept with the outputs of a full run; the tests run them
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

reference.write_pages(FOLDER / "api")
