"""``konduktor-health policy``: is what a site wrote right, and what does it do?"""

from __future__ import annotations

import typer

from konduktor_health.cli import policy_check, policy_diff, policy_show, policy_test

app = typer.Typer(
    help="Look at what a site wrote: rules files and policy files.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("check")(policy_check.command)
app.command("show")(policy_show.command)
app.command("diff")(policy_diff.command)
app.command("test")(policy_test.command)
