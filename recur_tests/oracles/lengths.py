"""The contract of variable lengths, step by step with plain ifs, without masks and selects."""


def run_valid_steps(step, start, carry, xs, valid, reset, *, reverse=False):
    """Return the last carry and the T outputs in the order of time, None at the invalid steps.

    carry_t, y_t = step(carry_{t∓1}, x_t)   if valid_t, else the carry holds
    carry_{t-1}  = start                    if reset_t, before step t, reading forward
    carry_{t+1}  = start                    if reset_{t+1}, before step t, reading backwards
    """
    T = len(xs)
    ys = [None] * T
    for t in reversed(range(T)) if reverse else range(T):
        if reverse:
            if t + 1 < T and reset[t + 1]:
                carry = start
        elif reset[t]:
            carry = start
        if valid[t]:
            carry, ys[t] = step(carry, xs[t])
    return carry, ys
