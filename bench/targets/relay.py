"""The bare relay, pooling."""

from lab.middle import Relay

from .account import SIZE, Account


class PooledRelay(Relay):
    """Hands its backends out by transaction and knows nothing else: what pooling costs at least."""

    def __init__(self, *args, account: Account, asks: bool, **options):
        super().__init__(*args, **options)
        self.account = account
        self.asks = asks

    def words(self):
        account = ["--user", self.account.user, "--password", self.account.password, "--database", "postgres"]
        return [*super().words(), "--pool", SIZE, *account, "--auth", "scram" if self.asks else "trust"]
