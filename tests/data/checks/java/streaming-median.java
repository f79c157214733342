/** Stands in the solution's own package. */
class Check {
    public static void main(String[] args) {
        RunningMedian median = new RunningMedian();
        try {
            median.median();
            throw new AssertionError("no IllegalStateException");
        } catch (IllegalStateException expected) {
            // as asked
        }
        int[] values = {5, 1, 4, 4, -7, 10, 10, 10};
        double[] medians = {5, 3, 4, 4, 4, 4, 4, 4.5};
        for (int i = 0; i < values.length; i++) {
            median.add(values[i]);
            same(medians[i], median.median());
        }
        RunningMedian large = new RunningMedian();
        large.add(Integer.MAX_VALUE);
        large.add(Integer.MAX_VALUE);
        same(Integer.MAX_VALUE, large.median());
        RunningMedian low = new RunningMedian();
        low.add(Integer.MIN_VALUE);
        low.add(Integer.MIN_VALUE + 1);
        same(Integer.MIN_VALUE + 0.5, low.median());
    }

    private static void same(double expected, double actual) {
        if (expected != actual) {
            throw new AssertionError(expected + " != " + actual);
        }
    }
}
