"""The desk's tools that look things up."""

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.environment import State
from sea_env.domains.telecom import lookup, results
from sea_env.domains.telecom.clock import TODAY, last_of_month
from sea_env.domains.toolkit import tool

_BY_LETTER = {
    "L": lookup.line,
    "D": lookup.device,
    "B": lookup.bill,
    "C": lookup.customer,
    "P": lookup.plan,
}


@tool(Kind.READ)
def get_customer_by_phone(state: State, phone_number: str) -> str:
    """Find a customer by the contact number, or the number of one of the customer's lines."""
    return results.one(lookup.customer_by_phone(state, phone_number))


@tool(Kind.READ)
def get_customer_by_id(state: State, customer_id: str) -> str:
    """Get a customer by the customer id."""
    return results.one(lookup.customer(state, customer_id))


@tool(Kind.READ)
def get_customer_by_name(state: State, full_name: str, dob: str) -> str:
    """Find customers by full name and date of birth (YYYY-MM-DD); the list may be empty."""
    name = full_name.lower()
    return results.many(
        found
        for _, found in state.agent.items("customers")
        if found["full_name"].lower() == name and found["date_of_birth"] == dob
    )


@tool(Kind.READ)
def get_details_by_id(state: State, id: str) -> str:  # noqa: A002 - the tool's argument is called id
    """Get the details of a customer, line, device, bill or plan by its id."""
    find = _BY_LETTER.get(id[:1])
    if find is None:
        raise ToolError(f"Unknown ID format or type: {id}")
    return results.one(find(state, id))


@tool(Kind.READ)
def get_bills_for_customer(state: State, customer_id: str, limit: int = 12) -> str:
    """List a customer's bills, the newest first, at most `limit`."""
    found = lookup.bills_of(state, lookup.customer(state, customer_id))
    newest = sorted(found, key=lambda bill: str(bill["issue_date"]), reverse=True)
    return results.many(newest[:limit])


@tool(Kind.READ)
def get_data_usage(state: State, customer_id: str, line_id: str) -> str:
    """Get a line's data used, limit and refuelled data of this billing cycle, and its last day."""
    line = lookup.line_of(state, customer_id, line_id)
    return results.summary(
        {
            "line_id": line_id,
            "data_used_gb": line["data_used_gb"],
            "data_limit_gb": lookup.plan(state, line["plan_id"])["data_limit_gb"],
            "data_refueling_gb": line["data_refueling_gb"],
            "cycle_end_date": last_of_month(TODAY),
        }
    )
