"""`bulkstatus --install-completion`."""

from cyclopts.completion.install import create_install_completion_command

from bulkstatus.cli._app import app

install_completion = create_install_completion_command(app.install_completion, add_to_startup=True)
