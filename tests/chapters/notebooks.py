"""What the tests of executed chapters share."""


def html_of(notebook):
    """All HTML that the cells of a notebook show, in order."""
    return [
        "".join(output["data"]["text/html"])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]
