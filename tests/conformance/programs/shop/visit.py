"""Visits the shop in the same order in all runs; prints the pages of each visitor, and the number of reads.

Usage: visit.py PORT fill|text|bound

`fill` creates the tables and inserts the books. `text` and `bound` visit the shop: the driver inserts parameters into
the text, which is Django's default, or the server binds the parameters.
"""

import datetime
import json
import os
import random
import sys
from collections import Counter
from pathlib import Path

import django
from django.conf import settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
PORT, WHAT = sys.argv[1:3]
VISITS = 600
SHELVES = 300
# Visits of each view out of 100; nine write. Each visit first reads the visitor's session and user.
VIEWS = {"catalogue": 35, "book": 30, "author": 8, "search": 8, "orders": 6, "report": 3, "export": 1, "review": 5, "order": 4}

settings.configure(
    ALLOWED_HOSTS=["testserver"],
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": "127.0.0.1", "PORT": PORT,
        # A connection serves many requests: each request must see the writes of the previous request.
        "CONN_MAX_AGE": None,
        "OPTIONS": {"server_side_binding": WHAT == "bound"},
    }},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "shop"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware"],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ROOT_URLCONF="shop.views",
    SECRET_KEY="a shop for tests",
    USE_TZ=True,
)
os.environ.pop("DJANGO_SETTINGS_MODULE", None)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from shop.models import Author, Book, Category, Publisher, Tag  # noqa: E402


def fill():
    # The shop's tables have no migrations. Django's tables come first, since the shop's refer to Django's.
    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)
    luck = random.Random(1)
    publishers = [Publisher.objects.create(name=f"Publisher {number}") for number in range(8)]
    roots = [Category.objects.create(name=f"Shelf {number}") for number in range(4)]
    shelves = [Category.objects.create(name=f"{root.name}.{number}", parent=root) for root in roots for number in range(4)]
    authors = Author.objects.bulk_create(Author(name=f"Author {number:02}") for number in range(60))
    tags = Tag.objects.bulk_create(Tag(name=f"tag-{number}") for number in range(12))
    first = datetime.date(1990, 1, 1)
    for number in range(SHELVES):
        book = Book.objects.create(
            title=f"Book {luck.randrange(1000):03} on {luck.choice('abcdef')}", author=luck.choice(authors),
            publisher=luck.choice(publishers), category=luck.choice(shelves), price=luck.randrange(500, 9900) / 100,
            published=first + datetime.timedelta(days=luck.randrange(12000)), stock=luck.randrange(30),
            details={"format": luck.choice(["paper", "cloth"]), "pages": number},
        )
        book.tags.set(luck.sample(tags, 3))
    for number in range(10):
        User.objects.create_user(f"visitor {number}", password="secret")


def visit():
    reads = Counter()

    def count(execute, sql, params, many, context):
        words = sql.lstrip().upper()
        if words.startswith(("SELECT", "WITH")) and " FOR UPDATE" not in words:
            reads["reads"] += 1
        return execute(sql, params, many, context)

    luck = random.Random(2)
    with connection.execute_wrapper(count):
        visitors = []
        for number in range(10):
            client = Client(raise_request_exception=True)
            client.force_login(User.objects.get(username=f"visitor {number}"))
            visitors.append(client)
        for number in range(VISITS):
            client = luck.choice(visitors)
            view = luck.choices(list(VIEWS), list(VIEWS.values()))[0]
            answer = request_view(client, view, luck, number)
            print_result(f"{WHAT} {number:03} {view}", f"{answer.status_code} {answer.content.decode()}")
    print_result(f"{WHAT} reads", str(reads["reads"]))


def request_view(client, view, luck, number):
    pk = luck.randrange(1, SHELVES + 1)
    match view:
        case "catalogue":
            query = {"page": luck.randrange(1, 31)} | ({"tag": f"tag-{luck.randrange(12)}"} if luck.random() < 0.4 else {})
            return client.get("/catalogue", query)
        case "book":
            return client.get(f"/book/{pk}")
        case "author":
            return client.get(f"/author/{luck.randrange(1, 61)}")
        case "search":
            return client.get("/search", {"q": luck.choice(["on a", "Book 1", "author 0", "cloth", "nothing"])})
        case "review":
            return client.post(f"/book/{pk}/review", {"stars": luck.randrange(1, 6), "text": f"visit {number}"}, follow=True)
        case "order":
            books = [f"{chosen}:{luck.randrange(1, 6)}" for chosen in sorted(luck.sample(range(1, SHELVES + 1), 3))]
            return client.post("/orders/new", {"book": books, "note": f"visit {number}"}, follow=True)
        case _:
            return client.get(f"/{view}")


def print_result(test: str, result: str):
    print(json.dumps({"test": test, "result": result}))


if WHAT == "fill":
    fill()
else:
    visit()
