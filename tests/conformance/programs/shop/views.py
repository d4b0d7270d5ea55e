"""Views of the shop: each serves a request, in autocommit except in blocks with `atomic`."""

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db import IntegrityError, connection, transaction
from django.db.models import Avg, Count, Exists, F, OuterRef, Q, Subquery, Sum, Window
from django.db.models.functions import Coalesce, ExtractYear, Lower, Rank
from django.http import JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import path

from .models import Author, Book, Line, Order, Review, Tag, Visits


class Short(Exception):
    """Fewer books are in stock than were ordered."""


@login_required
def catalogue(request):
    books = Book.objects.select_related("author", "publisher").prefetch_related("tags").order_by("title", "id")
    if tag := request.GET.get("tag"):
        books = books.filter(tags__name=tag)
    page = Paginator(books, 10).get_page(request.GET.get("page"))
    rows = [[book.title, book.author.name, book.publisher.name, sorted(tag.name for tag in book.tags.all())] for book in page]
    return JsonResponse({"pages": page.paginator.num_pages, "books": rows})


@login_required
def book(request, pk):
    found = get_object_or_404(Book.objects.select_related("author", "category", "category__parent"), pk=pk)
    reviews = found.reviews.select_related("user").order_by("id")
    similar = Book.objects.filter(tags__in=found.tags.all()).exclude(pk=pk).annotate(shared=Count("id"))
    return JsonResponse({
        "title": found.title, "price": str(found.price), "stock": found.stock, "category": found.category.name,
        "stars": reviews.aggregate(stars=Avg("stars"), count=Count("id")),
        "reviews": [[review.user.username, review.stars, review.text] for review in reviews[:5]],
        "reviewed": reviews.filter(user=request.user).exists(),
        "similar": list(similar.order_by("-shared", "id").values_list("title", "shared")[:5]),
    })


@login_required
def author(request, pk):
    best = Book.objects.filter(author=OuterRef("pk")).order_by("-price", "id")
    found = Author.objects.annotate(
        written=Count("books"), mean=Avg("books__price"), best=Subquery(best.values("title")[:1]),
        reviewed=Exists(Review.objects.filter(book__author=OuterRef("pk"))),
    ).get(pk=pk)
    years = found.books.annotate(year=ExtractYear("published")).values("year").annotate(count=Count("id")).order_by("year")
    return JsonResponse({
        "name": found.name, "written": found.written, "mean": str(found.mean), "best": found.best,
        "reviewed": found.reviewed, "years": list(years.values_list("year", "count")),
    })


@login_required
def search(request):
    words = request.GET["q"]
    found = Book.objects.filter(Q(title__icontains=words) | Q(author__name__icontains=words) | Q(details__format=words))
    titles = found.annotate(lower=Lower("title")).order_by("lower", "id").values_list("title", flat=True).distinct()
    return JsonResponse({"count": found.distinct().count(), "titles": list(titles[:20]), "tags": Tag.objects.in_bulk([1, 2]).__len__()})


@login_required
def report(request):
    ranked = Book.objects.annotate(rank=Window(Rank(), partition_by=F("publisher"), order_by=F("price").desc()))
    sold = Line.objects.values("book__publisher__name").annotate(sold=Sum("count"), turnover=Sum(F("count") * F("book__price")))
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE below AS (SELECT id, name, 0 AS depth FROM shop_category WHERE parent_id IS NULL"
            " UNION ALL SELECT c.id, c.name, depth + 1 FROM shop_category c JOIN below ON c.parent_id = below.id)"
            " SELECT depth, count(*), string_agg(name, ',' ORDER BY name) FROM below GROUP BY depth ORDER BY depth"
        )
        tree = cursor.fetchall()
    return JsonResponse({
        "ranked": list(ranked.order_by("publisher_id", "rank", "id").values_list("title", "rank")[:20]),
        "sold": [[name, count, str(sum_)] for name, count, sum_ in sold.order_by("book__publisher__name").values_list(
            "book__publisher__name", "sold", "turnover")],
        "tree": tree,
    })


@login_required
def orders(request):
    mine = request.user.orders.annotate(books_in_all=Coalesce(Sum("line__count"), 0)).order_by("-id").prefetch_related("books")
    rows = [[order.note, order.books_in_all, sorted(book.title for book in order.books.all())] for order in mine[:5]]
    return JsonResponse({"orders": rows, "count": request.user.orders.count()})


@login_required
def export(request):
    """Reads row by row through a server-side cursor."""
    rows = Book.objects.order_by("id").values_list("id", "stock").iterator(chunk_size=50)
    return JsonResponse({"rows": [*rows]})


@login_required
def add_review(request, pk):
    try:
        with transaction.atomic():
            Review.objects.create(book_id=pk, user=request.user, stars=request.POST["stars"], text=request.POST["text"])
    except IntegrityError:
        Review.objects.filter(book_id=pk, user=request.user).update(stars=request.POST["stars"])
    request.session["reviewed"] = request.session.get("reviewed", 0) + 1
    return redirect("book", pk)


@login_required
def add_order(request):
    wanted = {int(pk): int(count) for pk, count in (pair.split(":") for pair in request.POST.getlist("book"))}
    try:
        with transaction.atomic():
            order = Order.objects.create(user=request.user, note=request.POST["note"])
            for found in Book.objects.select_for_update().filter(pk__in=wanted).order_by("pk"):
                if found.stock < wanted[found.pk]:
                    raise Short(found.title)
                Book.objects.filter(pk=found.pk).update(stock=F("stock") - wanted[found.pk])
            Line.objects.bulk_create(Line(order=order, book_id=pk, count=count) for pk, count in sorted(wanted.items()))
            Visits.objects.update_or_create(user=request.user, defaults={"count": request.user.orders.count()})
    except Short as short:
        Book.objects.filter(stock__lt=5).update(stock=F("stock") + 20)
        return JsonResponse({"short": str(short)}, status=409)
    return redirect("orders")


urlpatterns = [
    path("catalogue", catalogue, name="catalogue"),
    path("book/<int:pk>", book, name="book"),
    path("book/<int:pk>/review", add_review),
    path("author/<int:pk>", author),
    path("search", search),
    path("report", report),
    path("orders", orders, name="orders"),
    path("orders/new", add_order),
    path("export", export),
]
