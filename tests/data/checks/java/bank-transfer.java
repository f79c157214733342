/** Stands in the solution's own package. */
class Check {
    public static void main(String[] args) throws InterruptedException {
        Account a = new Account(1, 100);
        Account b = new Account(2, 0);
        same(true, Account.transfer(a, b, 60));
        same(false, Account.transfer(a, b, 41));
        same(true, Account.transfer(b, b, 60));
        same(false, Account.transfer(b, b, 61));
        same(true, a.balance() == 40 && b.balance() == 60);
        for (long amount : new long[] {0, -5}) {
            try {
                Account.transfer(a, b, amount);
                throw new AssertionError("no IllegalArgumentException");
            } catch (IllegalArgumentException expected) {
                // as asked
            }
        }
        waitsWithoutTheOtherLock(a, b);
        losesNothing(a, b);
    }

    /** While we hold the first account, a transfer to it must not sit on the second one: that is half a deadlock. */
    private static void waitsWithoutTheOtherLock(Account first, Account second) throws InterruptedException {
        Thread transfer = daemon(() -> Account.transfer(second, first, 1));
        Thread reader = daemon(() -> {
            synchronized (second) {
                second.hashCode();
            }
        });
        synchronized (first) {
            transfer.start();
            while (transfer.getState() != Thread.State.BLOCKED && transfer.getState() != Thread.State.TERMINATED) {
                Thread.sleep(1);
            }
            reader.start();
            reader.join(2000);
            same(false, reader.isAlive());
        }
        transfer.join(2000);
        same(false, transfer.isAlive());
    }

    private static void losesNothing(Account a, Account b) throws InterruptedException {
        Thread[] threads = new Thread[4];
        for (int i = 0; i < threads.length; i++) {
            Account from = i % 2 == 0 ? a : b;
            Account to = i % 2 == 0 ? b : a;
            threads[i] = daemon(() -> {
                for (int n = 0; n < 20000; n++) {
                    Account.transfer(from, to, 1 + n % 3);
                }
            });
            threads[i].start();
        }
        for (Thread thread : threads) {
            thread.join(10000);
            same(false, thread.isAlive());
        }
        same(true, a.balance() + b.balance() == 100 && a.balance() >= 0 && b.balance() >= 0);
    }

    private static Thread daemon(Runnable work) {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        return thread;
    }

    private static void same(boolean expected, boolean actual) {
        if (expected != actual) {
            throw new AssertionError();
        }
    }
}
