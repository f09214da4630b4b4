"""A thousand facts and fifty questions about them, made the same way every time.

Each fact is about one of 40 people, who share given and family names with each other, and of
one of 25 kinds. A question asks for one of them in other words: with the name, a word or two of
the fact, and the rest put differently. So each has 24 facts about the same person and 39 of the
same kind to be mistaken for.
"""

import random

GIVEN = "Ann Boris Clara Diego Elif Farid Greta Hana Ivan Jun".split()
FAMILY = "Keller Lindqvist Moreno Okafor".split()
CITIES = "Lisbon Oslo Quito Turin Osaka Leeds Accra Porto Lyon Gdansk".split()
MONTHS = "January February March April May June July September October November".split()
THINGS = "chess sailing pottery cycling jazz fencing birds opera hiking origami".split()

KINDS = [
    ("{who} wants a window seat on every train", "Where does {who} prefer to sit, which seat?"),
    ("{who} cannot eat nuts", "Is there a food, like nuts, that makes {who} ill?"),
    ("{who} was promoted to team lead in {month}", "When did {who} become a lead, the promotion?"),
    ("{who} speaks fluent Portuguese", "Which language could {who} speak with our guests?"),
    (
        "The anniversary of {who} falls in {month}",
        "When in a year is {who}'s anniversary?",
    ),
    ("{who} moved from {city} to the coast", "Which town did {who} move away from?"),
    (
        "{who} approved the catering budget in {month}",
        "Did {who} say yes to the catering?",
    ),
    ("{who} borrowed the projector", "Who has our projector now, was it {who}?"),
    ("{who} spends the evenings with {thing}", "What does {who} do of an evening for fun?"),
    ("The contract with {who} ends in {month}", "Until when does the contract of {who} run?"),
    ("{who} decided to rent the hall in {city}", "What was the decision of {who} on the hall?"),
    ("{who} needs a wheelchair ramp at venues", "Does any venue have to offer a ramp for {who}?"),
    (
        "{who} recommended the bakery in {city}",
        "What bakery is a recommendation of {who}?",
    ),
    ("{who} keeps two greyhounds", "Are there pets such as greyhounds in the home of {who}?"),
    (
        "{who} complained about the noisy hotel in {city}",
        "Which complaint of a hotel has {who}?",
    ),
    ("{who} answers mail only before noon", "At which time of day does {who} reply to mail?"),
    ("The laptop of {who} was replaced in {month}", "When did {who} get another laptop?"),
    ("{who} volunteers as a photographer", "Could {who} take photographs at the party?"),
    ("{who} teaches a class on {thing}", "Which class is held by {who}?"),
    ("{who} lost a suitcase in {city}", "Where did the suitcase of {who} go missing?"),
    ("{who} signed the lease for the {city} office", "Whose name is on the lease, did {who} sign?"),
    ("{who} drinks only herbal tea", "Should we serve {who} coffee or tea?"),
    ("{who} studied engineering in {city}", "What subject did {who} study?"),
    ("{who} postponed the workshop to {month}", "To which date did {who} put off the workshop?"),
    ("{who} collects stamps from {city}", "What does the collection of {who} consist of, stamps?"),
]


def recall_set(seed: int = 7) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The facts by key, and questions, each with the key of the fact that answers it."""
    chance = random.Random(seed)
    people = [f"{given} {family}" for given in GIVEN for family in FAMILY]
    facts: dict[str, str] = {}
    questions: list[tuple[str, str]] = []
    for number, (fact, question) in enumerate(KINDS):
        for who in people:
            values = {"city": CITIES, "month": MONTHS, "thing": THINGS}
            chosen = {name: chance.choice(options) for name, options in values.items()}
            facts[f"{number} {who}"] = fact.format(who=who, **chosen)
        for who in chance.sample(people, 2):
            questions.append((question.format(who=who), f"{number} {who}"))
    return facts, questions
