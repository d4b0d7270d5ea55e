"""The bare relay as a transaction pool."""

from lab.proxy import Relay

from .account import SIZE, Account


class PooledRelay(Relay):
    """Leases backends per transaction without further features: the minimal cost of pooling."""

    def __init__(self, *args, account: Account, asks_password: bool, **options):
        super().__init__(*args, **options)
        self.account = account
        self.asks_password = asks_password

    def words(self):
        account = ["--user", self.account.user, "--password", self.account.password, "--database", "postgres"]
        return [*super().words(), "--pool", SIZE, *account, "--auth", "scram" if self.asks_password else "trust"]
