"""Teams as newcomers write them, and 60 requests to them, each with what must happen.

The teams stand nowhere else in this repository. The labels say what a careful colleague would do
with the tools that there are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Any, Literal

TODAY = date(2026, 11, 20)  # a Friday


@dataclass(frozen=True, kw_only=True)
class Team:
    """Participants: their descriptions, and the tools of each."""

    name: str
    members: Mapping[str, tuple[str, Sequence[Callable[..., str]]]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request, the answers to what is asked, and what must happen."""

    team: str
    request: str
    answers: Sequence[str] = ()
    calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """The calls that must be made, and no other one of a tool that changes something."""
    asks: str | None = None
    """What must stand in the first question."""
    contains: Sequence[str] = field(default=())
    """What must stand in the answer."""


class Priority(Enum):
    LOW = "low"
    NORMAL = "normal"
    URGENT = "urgent"


# ---- bug triage


def get_bug(bug_id: int) -> str:
    """Get a bug report by its id."""
    return f"Bug {bug_id}: the page is blank"


def set_severity(bug_id: int, severity: str) -> str:
    """Set the severity of a bug.

    Args:
        bug_id: The id of the bug.
        severity: One of: low, medium, high, critical.
    """
    return f"Severity of bug {bug_id}: {severity}"


def assign_bug(bug_id: int, developer: str) -> str:
    """Assign a bug to a developer."""
    return f"Bug {bug_id} is assigned to {developer}"


def find_duplicates(bug_id: int) -> str:
    """Find bugs that are duplicates of a bug."""
    return f"No duplicates of bug {bug_id}"


# ---- data analysis


def load_csv(path: str) -> str:
    """Load a CSV file and tell its columns."""
    return f"Columns of {path}: region, revenue"


def average(path: str, column: str) -> str:
    """Compute the average of a column of a file."""
    return f"Average {column} in {path}: 42"


def write_report(path: str, title: str) -> str:
    """Write a report to a file."""
    return f"Report {title} written to {path}"


# ---- customer support


def order_status(order_id: str) -> str:
    """Look up where an order is."""
    return f"Order {order_id} is in Hamburg"


def refund_order(order_id: str, amount: float) -> str:
    """Refund money for an order."""
    return f"Refunded ${amount:.2f} for order {order_id}"


def send_email(to: str, body: str) -> str:
    """Send an e-mail to a customer."""
    return f"E-mail to {to}: {body}"


# ---- travel


def flight_prices(city: str, travellers: int) -> str:
    """Tell what flights to a city cost."""
    return f"Flights: ${travellers * 200} to {city}"


def book_hotel(city: str, check_in: str, check_out: str) -> str:
    """Book a hotel in a city."""
    return f"Hotel booked in {city} from {check_in} to {check_out}"


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"Weather: sunny in {city}"


# ---- leave


def leave_balance(employee: str) -> str:
    """Tell how many days of leave an employee has left."""
    return f"{employee} has 12 days of leave left"


def request_leave(employee: str, start_date: str, end_date: str) -> str:
    """Request leave for an employee."""
    return f"Leave requested for {employee} from {start_date} to {end_date}"


# ---- inventory


def check_stock(product: str) -> str:
    """Check how many of a product are in stock."""
    return f"Stock: 17 {product}"


def order_supplies(product: str, quantity: int, priority: Priority = Priority.NORMAL) -> str:
    """Order more of a product from the supplier."""
    return f"Ordered: {quantity} {product} ({priority.value})"


# ---- library


def search_books(query: str) -> str:
    """Search books by title or author."""
    return "Books: Emma, Persuasion"


def reserve_book(isbn: str, member_id: str) -> str:
    """Reserve a book for a member of the library."""
    return f"Reserved {isbn} for {member_id}"


def renew_loan(isbn: str, weeks: int = 2) -> str:
    """Renew the loan of a book."""
    return f"Loan of {isbn} renewed for {weeks} weeks"


# ---- restaurant


def free_tables(date: str, party_size: int) -> str:
    """Find free tables on a day for a party."""
    return f"Free tables on {date} for {party_size}: 4, 7"


def book_table(date: str, time: str, guests: int, name: str) -> str:
    """Book a table."""
    return f"Table booked for {name}: {guests} on {date} at {time}"


def dish_allergens(dish: str) -> str:
    """Tell the allergens of a dish."""
    return f"Allergens of {dish}: nuts"


# ---- devops


def service_status(service: str) -> str:
    """Show the status of a service."""
    return f"Service {service} is degraded"


def restart_service(service: str, environment: Literal["staging", "production"]) -> str:
    """Restart a service."""
    return f"Restarted {service} in {environment}"


def rollback(service: str, version: str) -> str:
    """Roll a service back to a version."""
    return f"Rolled {service} back to {version}"


# ---- invoicing


def invoice_total(invoice_number: str) -> str:
    """Show the total of an invoice."""
    return f"Invoice {invoice_number}: $310.00"


def create_invoice(customer: str, amount: float, due_date: str) -> str:
    """Create an invoice for a customer."""
    return f"Invoice for {customer}: ${amount:.2f}, due {due_date}"


def send_reminder(invoice_number: str, email: str) -> str:
    """Send a reminder for an invoice that is not paid."""
    return f"Reminder for {invoice_number} sent to {email}"


# ---- school


def timetable(class_name: str, day: Literal["monday", "tuesday", "wednesday", "thursday"]) -> str:
    """Show the timetable of a class on a day of the week."""
    return f"{class_name} on {day}: maths, art"


def move_lesson(subject: str, class_name: str, start_time: str) -> str:
    """Move a lesson to another time."""
    return f"Moved {subject} of {class_name} to {start_time}"


def teacher_of(subject: str) -> str:
    """Tell who teaches a subject."""
    return f"{subject} is taught by Mr Finch"


# ---- clinic


def free_slots(doctor: str, date: str) -> str:
    """Find free appointments of a doctor on a day."""
    return f"Free with {doctor} on {date}: 09:00, 11:30"


def book_appointment(patient: str, doctor: str, date: str, time: str) -> str:
    """Book an appointment for a patient with a doctor."""
    return f"Appointment: {patient} with {doctor} on {date} at {time}"


def cancel_appointment(appointment_id: int) -> str:
    """Cancel an appointment."""
    return f"Appointment {appointment_id} is cancelled"


def _team(name: str, **members: tuple[str, Sequence[Callable[..., str]]]) -> Team:
    return Team(name=name, members=members)


TEAMS = {
    team.name: team
    for team in (
        _team(
            "bugs",
            triage=("Looks into bugs and sets how severe they are.", [get_bug, set_severity]),
            duplicates=("Finds duplicates of bugs.", [find_duplicates]),
            assigner=("Assigns bugs to developers.", [assign_bug]),
        ),
        _team("data", analyst=("Analyses CSV files.", [load_csv, average, write_report])),
        _team(
            "support",
            orders=("Knows where orders are.", [order_status]),
            refunds=("Refunds orders.", [refund_order]),
            mail=("Writes e-mails to customers.", [send_email]),
        ),
        _team(
            "travel",
            flights=("Prices flights.", [flight_prices]),
            hotels=("Books hotels.", [book_hotel]),
            weather=("Tells the weather.", [weather]),
        ),
        _team("leave", hr=("Handles leave of employees.", [leave_balance, request_leave])),
        _team(
            "inventory",
            stock=("Knows what is in stock.", [check_stock]),
            buyer=("Orders supplies.", [order_supplies]),
        ),
        _team(
            "library",
            librarian=("Finds and lends books.", [search_books, reserve_book, renew_loan]),
        ),
        _team(
            "restaurant",
            tables=("Takes reservations of tables.", [free_tables, book_table]),
            kitchen=("Knows the dishes and their allergens.", [dish_allergens]),
        ),
        _team("devops", oncall=("Runs the services.", [service_status, restart_service, rollback])),
        _team(
            "invoicing",
            billing=("Creates and looks up invoices.", [invoice_total, create_invoice]),
            reminders=("Reminds customers of invoices.", [send_reminder]),
        ),
        _team("school", office=("Keeps the timetable.", [timetable, move_lesson, teacher_of])),
        _team(
            "clinic",
            desk=(
                "Finds, books and cancels appointments.",
                [free_slots, book_appointment, cancel_appointment],
            ),
        ),
    )
}


def _case(team: str, request: str, *calls: tuple[str, Mapping[str, Any]], **more: Any) -> Case:
    return Case(team=team, request=request, calls=calls, **more)


CASES = [
    _case("bugs", "What is bug 1043 about?", ("get_bug", {"bug_id": 1043})),
    _case("bugs", "Is bug 1043 a duplicate?", ("find_duplicates", {"bug_id": 1043})),
    _case(
        "bugs",
        "Set the severity of bug 1043 to critical",
        ("set_severity", {"bug_id": 1043, "severity": "critical"}),
    ),
    _case(
        "bugs",
        "Set the severity of bug 77",
        ("set_severity", {"bug_id": 77, "severity": "high"}),
        answers=["high"],
        asks="everity",
    ),
    _case("bugs", "Assign bug 12 to Maria", ("assign_bug", {"bug_id": 12, "developer": "Maria"})),
    _case("bugs", "hello"),
    _case("data", "Load sales.csv", ("load_csv", {"path": "sales.csv"})),
    _case(
        "data",
        "Load the file",
        ("load_csv", {"path": "sales.csv"}),
        answers=["sales.csv"],
        asks="path",
    ),
    _case(
        "data",
        "What is the average of the column revenue in data/sales.csv?",
        ("average", {"path": "data/sales.csv", "column": "revenue"}),
    ),
    _case(
        "data",
        'Write a report with the title "Spring sales" to report.md',
        ("write_report", {"path": "report.md", "title": "Spring sales"}),
    ),
    _case("data", "What is 2+2?"),
    _case(
        "support",
        "Where is my order?",
        ("order_status", {"order_id": "5512"}),
        answers=["5512"],
        asks="order",
    ),
    _case("support", "Where is order 5512?", ("order_status", {"order_id": "5512"})),
    _case(
        "support",
        "Refund $59.90 for order 5512",
        ("refund_order", {"order_id": "5512", "amount": 59.9}),
    ),
    _case(
        "support",
        "Send an email to ann@example.com saying the parcel is late",
        ("send_email", {"to": "ann@example.com", "body": "the parcel is late"}),
    ),
    _case(
        "support",
        "Refund $20 for order 88 and call the customer",
        ("refund_order", {"order_id": "88", "amount": 20.0}),
        contains=["ot done", "call the customer"],
    ),
    _case("support", "Can I get a refund for order 5512?"),
    _case("support", "thanks!"),
    _case(
        "travel",
        "Flight prices for Lisbon for 2 travellers",
        ("flight_prices", {"city": "Lisbon", "travellers": 2}),
    ),
    _case(
        "travel",
        "What do flights to Porto cost?",
        ("flight_prices", {"city": "Porto", "travellers": 4}),
        answers=["4"],
        asks="How many travellers?",
    ),
    _case("travel", "What is the weather in Rome?", ("weather", {"city": "Rome"})),
    _case(
        "travel",
        "Book a hotel in Vienna from May 3 to May 7",
        ("book_hotel", {"city": "Vienna", "check_in": "2027-05-03", "check_out": "2027-05-07"}),
    ),
    _case(
        "travel",
        "What does a flight to Oslo cost for three travellers?",
        ("flight_prices", {"city": "Oslo", "travellers": 3}),
    ),
    _case(
        "leave",
        "How many days of leave does Ann Lee have left?",
        ("leave_balance", {"employee": "Ann Lee"}),
    ),
    _case(
        "leave",
        "Request leave for Tom from 2026-12-21 to 2026-12-23",
        (
            "request_leave",
            {"employee": "Tom", "start_date": "2026-12-21", "end_date": "2026-12-23"},
        ),
    ),
    _case(
        "leave",
        "How much leave is left?",
        ("leave_balance", {"employee": "Tom"}),
        answers=["Tom"],
        asks="employee",
    ),
    _case(
        "leave",
        "Please request leave for Ann",
        (
            "request_leave",
            {"employee": "Ann", "start_date": "2026-12-01", "end_date": "2026-12-04"},
        ),
        answers=["December 1, December 4"],
        asks="start date",
    ),
    _case("leave", "Good morning, how are you?"),
    _case(
        "inventory",
        "How many USB cables do we have in stock?",
        ("check_stock", {"product": "USB cables"}),
    ),
    _case(
        "inventory",
        "Check the stock of printer paper",
        ("check_stock", {"product": "printer paper"}),
    ),
    _case(
        "inventory",
        "Order 20 keyboards",
        ("order_supplies", {"product": "keyboards", "quantity": 20}),
    ),
    _case(
        "inventory",
        "Order 5 urgent monitors, priority: urgent",
        ("order_supplies", {"product": "monitors", "quantity": 5, "priority": "urgent"}),
    ),
    _case(
        "inventory",
        "Order more toner",
        ("order_supplies", {"product": "toner", "quantity": 12}),
        answers=["12"],
        asks="quantity",
    ),
    _case("library", "Search books by Jane Austen", ("search_books", {})),
    _case("library", "Do you have books about whales?", ("search_books", {})),
    _case(
        "library",
        "Reserve the book with isbn 978-0141439587 for member M-204",
        ("reserve_book", {"isbn": "978-0141439587", "member_id": "M-204"}),
    ),
    _case(
        "library",
        "Renew the loan of isbn 978-0141439587 for 3 weeks",
        ("renew_loan", {"isbn": "978-0141439587", "weeks": 3}),
    ),
    _case(
        "library",
        "Renew my loan",
        ("renew_loan", {"isbn": "978-0141439587"}),
        answers=["978-0141439587"],
        asks="isbn",
    ),
    _case(
        "restaurant",
        "Are there free tables on December 24 for a party of 6?",
        ("free_tables", {"date": "2026-12-24", "party_size": 6}),
    ),
    _case(
        "restaurant",
        "Book a table for 4 guests on December 12th at 7 pm, name: Rossi",
        ("book_table", {"date": "2026-12-12", "time": "19:00", "guests": 4, "name": "Rossi"}),
    ),
    _case(
        "restaurant", "Which allergens are in the lasagne?", ("dish_allergens", {"dish": "lasagne"})
    ),
    _case(
        "restaurant",
        "Book a table for 2 guests tomorrow at 20:00",
        ("book_table", {"date": "2026-11-21", "time": "20:00", "guests": 2, "name": "Weber"}),
        answers=["Weber"],
        asks="name",
    ),
    _case(
        "restaurant",
        "Are there free tables?",
        ("free_tables", {"date": "2026-12-05", "party_size": 2}),
        answers=["party size: 2, date: December 5"],
        asks="date",
    ),
    _case(
        "devops",
        "What is the status of the checkout service?",
        ("service_status", {"service": "checkout"}),
    ),
    _case(
        "devops",
        "Restart the payments service in production",
        ("restart_service", {"service": "payments", "environment": "production"}),
    ),
    _case(
        "devops",
        "Restart the search service",
        ("restart_service", {"service": "search", "environment": "staging"}),
        answers=["staging"],
        asks="Which environment",
    ),
    _case(
        "devops",
        "Roll the search service back to version 2.4.1",
        ("rollback", {"service": "search", "version": "2.4.1"}),
    ),
    _case("devops", "Did anybody restart the payments service?"),
    _case(
        "invoicing",
        "What is the total of invoice INV-2041?",
        ("invoice_total", {"invoice_number": "INV-2041"}),
    ),
    _case(
        "invoicing",
        "Create an invoice of $1,250 for Acme due on January 15",
        ("create_invoice", {"customer": "Acme", "amount": 1250.0, "due_date": "2027-01-15"}),
    ),
    _case(
        "invoicing",
        "Send a reminder for invoice 2041 to bill@acme.com",
        ("send_reminder", {"invoice_number": "2041", "email": "bill@acme.com"}),
    ),
    _case(
        "invoicing", "Has invoice 2041 been paid?", ("invoice_total", {"invoice_number": "2041"})
    ),
    _case(
        "school",
        "Show the timetable of class 7b on Tuesday",
        ("timetable", {"class_name": "7b", "day": "tuesday"}),
    ),
    _case("school", "Who teaches chemistry?", ("teacher_of", {"subject": "chemistry"})),
    _case(
        "school",
        "Move the art lesson of class 5a to 10:30",
        ("move_lesson", {"subject": "art", "class_name": "5a", "start_time": "10:30"}),
    ),
    _case(
        "clinic",
        "Free appointments of Dr Smith on December 3?",
        ("free_slots", {"doctor": "Dr Smith", "date": "2026-12-03"}),
    ),
    _case("clinic", "Cancel appointment 318", ("cancel_appointment", {"appointment_id": 318})),
    _case(
        "clinic",
        "Cancel my appointment",
        ("cancel_appointment", {"appointment_id": 318}),
        answers=["318"],
        asks="appointment",
    ),
    _case(
        "clinic",
        "Book an appointment for Eva Brandt with Dr Jones on December 4 at 9:00",
        (
            "book_appointment",
            {"patient": "Eva Brandt", "doctor": "Dr Jones", "date": "2026-12-04", "time": "09:00"},
        ),
    ),
    _case(
        "clinic",
        "Cancel my appointment",
        answers=["the one next week"],
        asks="appointment",
        contains=["reads no appointment id"],
    ),
]
