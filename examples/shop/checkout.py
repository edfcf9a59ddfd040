"""A producer: it knows what can be asked for, not who does it or how."""

from shop.api import Item, invoice

if __name__ == "__main__":
    job = invoice.enqueue_sync("ann@example.com", [Item("tea", 450), Item("a cup", 1200)])
    print(f"accepted as job {job.id}", flush=True)
    print(f"invoice {job.result_sync(timeout=60)}")
