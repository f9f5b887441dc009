"""Configuration of the documentation; `sphinx-build -W docs docs/_build/html`."""

import os

from sphinx.util.nodes import get_node_source

import skrfm

project = "skrfm"
author = "The skrfm developers"
copyright = "2025, The skrfm developers"
release = skrfm.__version__
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",
    "sphinxext.opengraph",
]
exclude_patterns = ["_build", "examples", "**/GALLERY_HEADER.rst"]
templates_path = ["_templates"]
default_role = "literal"

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

# Links to other projects need a network, so they are asked for.
if os.environ.get("SKRFM_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "subsection_order": [
        f"examples/{folder}"
        for folder in ("tables", "completion", "images", "transfer", "theory")
    ],
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    # the examples are independent, and each is less than a minute of one core or two
    "parallel": 2,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skrfm",),
    "reference_url": {"skrfm": None},
}

# Only the input of an example is copied, without its prompts.
copybutton_prompt_text = ">>> |\\.\\.\\. "
copybutton_prompt_is_regexp = True

html_baseurl = "https://skrfm.readthedocs.io/en/latest/"
html_theme = "pydata_sphinx_theme"
html_title = f"skrfm {version}"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["skrfm.css"]
html_theme_options = {
    "logo": {
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
        "alt_text": "skrfm",
    },
    "github_url": "https://github.com/skrfm/skrfm",
    "header_links_before_dropdown": 5,
    # the field of the theme takes a second row of the header
    "navbar_persistent": ["search-button"],
    "show_prev_next": False,
    "navigation_with_keys": False,
}
# Pages without pages below them have nothing to show beside them.
html_sidebars = {
    page: []
    for page in (
        "index",
        "install",
        "getting_started",
        "choosing",
        "benchmarks",
        "comparison",
        "faq",
        "glossary",
        "architecture",
        "cite",
        "changelog",
        "generated/*",
    )
}

ogp_site_url = html_baseurl
ogp_image = "_static/benchmarks/ranks.png"
ogp_description_length = 200

# The request methods of metadata routing are the same in every estimator.
UNLISTED = {"get_metadata_routing"} | {
    f"set_{method}_request" for method in ("fit", "predict", "score", "transform")
}


def skip_member(app, what, name, obj, skip, options):
    """Leave some inherited methods out of the reference."""
    return True if name in UNLISTED else None


def plain_sklearn_reference(app, env, node, contnode):
    """Make text of what docstrings inherited from scikit-learn refer to."""
    return contnode if "docstring of sklearn." in get_node_source(node) else None


def setup(app):
    app.connect("autodoc-skip-member", skip_member)
    app.connect("missing-reference", plain_sklearn_reference, priority=900)
