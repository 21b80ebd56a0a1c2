"""The words of the embedded world: what texts say, whom they name, and how labels are called.

Every attribute value is shown by one word out of a list, and no word serves two values, so that a text's
attributes are knowable and a text alone still says nothing about the labels.
"""

from __future__ import annotations

ATTRIBUTES: dict[str, dict[str, tuple[str, ...]]] = {
    "topic": {
        "payment": ("invoice", "payment", "charge", "bill", "fee", "receipt", "transfer", "instalment"),
        "delivery": (
            "parcel",
            "shipment",
            "delivery",
            "package",
            "courier",
            "tracking",
            "dispatch",
            "postage",
        ),
        "access": ("password", "login", "passcode", "username", "lockout", "token", "verification", "logon"),
        "device": ("screen", "battery", "printer", "charger", "keyboard", "scanner", "headset", "router"),
        "booking": (
            "appointment",
            "booking",
            "reservation",
            "slot",
            "schedule",
            "calendar",
            "visit",
            "timetable",
        ),
        "records": ("form", "certificate", "statement", "letter", "file", "document", "report", "contract"),
    },
    "urgency": {
        "now": ("today", "immediately", "tonight", "urgently", "instantly", "straightaway"),
        "soon": ("tomorrow", "soon", "shortly", "midweek", "presently", "overnight"),
        "later": ("eventually", "someday", "anytime", "later", "sometime", "whenever"),
    },
    "mood": {
        "angry": ("angry", "furious", "annoyed", "irritated", "outraged", "livid", "cross", "fuming"),
        "worried": ("worried", "anxious", "nervous", "uneasy", "afraid", "alarmed", "tense", "concerned"),
        "pleased": ("pleased", "happy", "glad", "delighted", "cheerful", "thrilled", "content", "relieved"),
        "sad": ("sad", "upset", "unhappy", "disappointed", "gloomy", "miserable", "hurt", "downcast"),
    },
    "channel": {
        "phone": ("phone", "telephone", "landline", "mobile", "voicemail", "hotline"),
        "mail": ("email", "webmail", "inbox", "mailbox", "fax", "postcard"),
        "web": ("chat", "app", "messenger", "website", "portal", "browser"),
        "person": ("counter", "branch", "reception", "lobby", "office", "kiosk"),
    },
    "request": {
        "refund": ("refund", "repayment", "reimbursement", "credit", "rebate", "compensation"),
        "contact": ("callback", "reply", "answer", "response", "conversation", "meeting"),
        "swap": ("replacement", "exchange", "swap", "substitute", "repair", "spare"),
        "reason": ("explanation", "reason", "clarification", "apology", "breakdown", "summary"),
    },
    "verdict": {
        "good": ("helpful", "excellent", "friendly", "careful", "superb", "kind", "patient", "brilliant"),
        "poor": ("careless", "rude", "awful", "useless", "sloppy", "terrible", "clumsy", "dreadful"),
    },
}

LABEL_POOL: tuple[str, ...] = (
    "red", "blue", "green", "amber", "silver", "violet", "maple", "cedar",
    "falcon", "heron", "delta", "sigma", "river", "stone", "north", "lunar",
)  # fmt: skip

LABEL_PREFIXES: tuple[str, ...] = ("desk", "queue")

FIRST_NAMES: tuple[str, ...] = (
    "Adela", "Alban", "Amara", "Anselm", "Aria", "Basil", "Bea", "Bruno", "Cara", "Cedric", "Clara", "Colm",
    "Dana", "Darius", "Delia", "Dorian", "Edda", "Eliot", "Elsa", "Emil", "Esme", "Fabian", "Farah", "Felix",
    "Fiona", "Flora", "Gideon", "Gilda", "Greta", "Hana", "Hector", "Hilda", "Hugo", "Ida", "Imran", "Ines",
    "Iris", "Ivo", "Jasper", "Joan", "Jonas", "Judith", "Kamal", "Kara", "Kaspar", "Keira", "Lars", "Leila",
    "Leo", "Linus", "Lotte", "Lucia", "Magda", "Malik", "Mara", "Marius", "Mila", "Milo", "Mona", "Nadia",
    "Nils", "Nora", "Olga", "Omar", "Orla", "Oscar", "Otto", "Paloma", "Pavel", "Petra", "Priya", "Quentin",
    "Ramon", "Rhea", "Rosa", "Rufus", "Sana", "Selma", "Silas", "Stella", "Sven", "Tamsin", "Tariq", "Theo",
    "Tilda", "Tobias", "Ulla", "Uma", "Vera", "Victor", "Viola", "Wanda", "Willa", "Xenia", "Yara", "Yusuf",
    "Zadie", "Zelda", "Zeno", "Zora",
)  # fmt: skip

LAST_NAMES: tuple[str, ...] = (
    "Abbot", "Aldane", "Ashby", "Atwell", "Bardo", "Barlow", "Beckett", "Bellamy", "Birch", "Bolton", "Brandt",
    "Calder", "Carver", "Chandra", "Cole", "Corvin", "Crane", "Dalton", "Darby", "Decker", "Delgado", "Draper",
    "Drummond", "Eaton", "Eckhart", "Ellwood", "Emory", "Faber", "Fairley", "Farrow", "Fenwick", "Finch",
    "Forsyth", "Gallow", "Garrick", "Gauthier", "Gresham", "Hadley", "Halloran", "Hartog", "Haskell", "Holt",
    "Huxley", "Ibarra", "Ingram", "Irvine", "Jagger", "Jansen", "Jarvis", "Kagan", "Keller", "Kendrick",
    "Kirby", "Kovac", "Lambert", "Larkin", "Lennox", "Lindqvist", "Lowell", "Maddox", "Marchetti", "Mercer",
    "Merrick", "Moreau", "Nakano", "Navarro", "Nesbit", "Novak", "Oakley", "Okafor", "Orwin", "Osborne",
    "Paxton", "Pemberton", "Petrov", "Quigley", "Quill", "Radley", "Ramsey", "Rooke", "Rutter", "Sandoval",
    "Sawyer", "Sheridan", "Sorrel", "Strand", "Talbot", "Thorne", "Tolland", "Underhill", "Usher", "Vance",
    "Varga", "Vickers", "Wexler", "Whitlow", "Winslow", "Yardley", "Yates", "Zeller",
)  # fmt: skip

CITIES: tuple[str, ...] = (
    "Aldermoor", "Ambleton", "Arkwell", "Ashgrove", "Barrowby", "Belcastle", "Bexmouth", "Blackford",
    "Brackenhill", "Bridgeholm", "Calverton", "Castlemere", "Cliffhaven", "Coldwater", "Cranborne", "Dalehurst",
    "Deepford", "Dunmarsh", "Eastmere", "Elmbury", "Fairhaven", "Farncombe", "Fernvale", "Foxbridge",
    "Glenrock", "Goldcrest", "Greywick", "Harrowgate", "Hazelton", "Highmoor", "Hollowell", "Ironbridge",
    "Kestrelby", "Kingsmead", "Lakehurst", "Larchfield", "Limeport", "Longmarsh", "Maplewick", "Marshgate",
    "Millbrook", "Moorfield", "Newhollow", "Northwick", "Oakhampton", "Oldcastle", "Pinecrest", "Ravenport",
    "Redcliffe", "Rosemont", "Saltmarsh", "Seaford", "Silverton", "Stonebury", "Summerfield", "Thornbury",
    "Tidewater", "Underwood", "Valebrook", "Westbourne", "Whitstone", "Wildmere", "Windhelm", "Yarrowdale",
)  # fmt: skip
