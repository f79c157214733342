// Stands in the solution's own module.
pub fn check() -> bool {
    let mut buffer = RingBuffer::new(3);
    let empty = buffer.len() == 0 && buffer.to_vec().is_empty();
    let filled = (1..=3).all(|value| buffer.push(value).is_none());
    let evicted = buffer.push(4) == Some(1) && buffer.push(5) == Some(2);
    let mut one = RingBuffer::new(1);
    let single = one.push("a") == None && one.push("b") == Some("a") && one.to_vec() == vec!["b"];
    let refuses_zero = std::panic::catch_unwind(|| RingBuffer::<i32>::new(0)).is_err();
    empty && filled && evicted && buffer.to_vec() == vec![3, 4, 5] && buffer.len() == 3 && single && refuses_zero
}
