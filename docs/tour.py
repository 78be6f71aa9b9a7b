"""Runs docs/tour.ipynb, and writes into it what its cells show.

    .venv/bin/python docs/tour.py

Half a CPU minute.
"""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_suffix(".ipynb")
WIDGET = "application/vnd.jupyter.widget-view+json"


def run(directory):
    """The notebook with fresh outputs; its cells run in a directory."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(directory)}}
    # The kernel may be slow to come where much else is going on.
    client = NotebookClient(
        notebook, resources=where, store_widget_state=False, startup_timeout=600
    )
    return client.execute()


def keep_what_lasts(notebook):
    """Takes out what is nothing without a kernel, such as bars, and when cells ran."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [x for x in cell.outputs if WIDGET not in x.get("data", {})]
    notebook.metadata.language_info = {"name": "python"}


if __name__ == "__main__":
    notebook = run(NOTEBOOK.parent)
    keep_what_lasts(notebook)
    nbformat.write(notebook, NOTEBOOK)
