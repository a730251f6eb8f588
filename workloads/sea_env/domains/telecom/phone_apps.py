"""The user's tools for apps and their permissions, and for paying a bill."""

from typing import Any

from sea_env.domains.base import Kind
from sea_env.domains.state import State
from sea_env.domains.telecom.phone import around, read, with_bar, write, write_around
from sea_env.domains.toolkit import tool


def permissions(state: State, app_name: str) -> dict[str, bool] | None:
    """Whether each permission of an app is granted; None if there is no such app."""
    app = read(state, "app_statuses").get(app_name)
    return None if app is None else app["permissions"]


def permit(state: State, app_name: str, permission: str, allowed: bool) -> None:
    """Sets one permission of an app that has it."""
    apps: dict[str, Any] = read(state, "app_statuses")
    app = apps[app_name]
    changed = {**app, "permissions": {**app["permissions"], permission: allowed}}
    write(state, app_statuses={**apps, app_name: changed})


def _granted(found: dict[str, bool]) -> list[str]:
    return [name for name, allowed in found.items() if allowed]


@tool(Kind.READ)
def check_installed_apps(state: State) -> str:
    """List the apps on your phone."""
    names = ", ".join(read(state, "app_statuses"))
    return f"The following apps are installed on the phone: {names}"


@tool(Kind.READ)
def check_app_status(state: State, app_name: str) -> str:
    """Look up an app and what it is allowed to do."""
    found = permissions(state, app_name)
    if found is None:
        return f"App '{app_name}' not found on this phone."
    lines = [f"Status for App: {app_name}"]
    granted = _granted(found)
    if not granted:
        return "\n".join([*lines, " - Permissions: None granted."])
    return "\n".join([*lines, " - Permissions Granted:", *(f"   - {name}" for name in granted)])


@tool(Kind.READ)
def check_app_permissions(state: State, app_name: str) -> str:
    """Look up the permissions of an app."""
    found = permissions(state, app_name)
    if found is None:
        return f"App '{app_name}' not found on this phone."
    granted = _granted(found)
    if not granted:
        return f"App '{app_name}' currently has no permissions granted."
    return f"App '{app_name}' has permission for: {', '.join(granted)}."


@tool(Kind.WRITE)
def grant_app_permission(state: State, app_name: str, permission: str) -> str:
    """Give an app a permission (in lower case), such as storage or sms."""
    return with_bar(state, _grant(state, app_name, permission.lower()))


def _grant(state: State, app_name: str, permission: str) -> str:
    found = permissions(state, app_name)
    if found is None:
        return f"Error. App '{app_name}' not found. Cannot grant permission."
    if permission not in found:
        return (
            f"Error. Permission '{permission}' not tracked for app '{app_name}', "
            f"available permissions: {list(found)}"
        )
    permit(state, app_name, permission, allowed=True)
    return f"Success. Permission '{permission}' granted to app '{app_name}'."


@tool(Kind.WRITE)
def make_payment(state: State) -> str:
    """Pay the bill that the company has asked you to pay."""
    request = around(state, "payment_request")
    if request is None:
        return "You do not have a payment request."
    write_around(state, payment_request={**request, "paid": True})
    return f"Payment of {request['amount_due']} USD has been made for bill {request['bill_id']}."
