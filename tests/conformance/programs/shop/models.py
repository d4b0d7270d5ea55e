"""Tables of the shop."""

from django.contrib.auth.models import User
from django.db import models


class Publisher(models.Model):
    name = models.CharField(max_length=80, unique=True)


class Category(models.Model):
    name = models.CharField(max_length=80)
    parent = models.ForeignKey("self", models.CASCADE, null=True)


class Author(models.Model):
    name = models.CharField(max_length=80, db_index=True)


class Tag(models.Model):
    name = models.SlugField(unique=True)


class Book(models.Model):
    title = models.CharField(max_length=200)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    publisher = models.ForeignKey(Publisher, models.PROTECT)
    category = models.ForeignKey(Category, models.PROTECT)
    tags = models.ManyToManyField(Tag)
    published = models.DateField()
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.IntegerField()
    details = models.JSONField(default=dict)


class Review(models.Model):
    book = models.ForeignKey(Book, models.CASCADE, related_name="reviews")
    user = models.ForeignKey(User, models.CASCADE)
    stars = models.IntegerField()
    text = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint("book", "user", name="one_review_each")]


class Order(models.Model):
    user = models.ForeignKey(User, models.CASCADE, related_name="orders")
    note = models.TextField(blank=True)
    books = models.ManyToManyField(Book, through="Line")


class Line(models.Model):
    order = models.ForeignKey(Order, models.CASCADE)
    book = models.ForeignKey(Book, models.PROTECT)
    count = models.IntegerField()


class Visits(models.Model):
    user = models.OneToOneField(User, models.CASCADE)
    count = models.IntegerField(default=0)
