import os
import signal
import threading

import pytest

from recur.train.signals import first_signal_collected, signals_held_back

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_signal_is_collected_and_the_second_acts(number):
    acted = []
    before = signal.signal(number, lambda *_: acted.append(number))
    try:
        with first_signal_collected() as came:
            os.kill(os.getpid(), number)
            assert (came, acted) == ([number], [])
            os.kill(os.getpid(), number)
        assert (came, acted) == ([number], [number])
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", NUMBERS)
def test_signals_are_held_back_until_the_end(number):
    acted = []
    before = signal.signal(number, lambda *_: acted.append(number))
    try:
        with signals_held_back():
            for _ in range(3):
                os.kill(os.getpid(), number)
            assert acted == []
        assert acted == [number]
        with signals_held_back():
            pass
        assert acted == [number]
    finally:
        signal.signal(number, before)


def test_an_interrupt_that_was_held_back_is_raised():
    done = []
    with pytest.raises(KeyboardInterrupt), signals_held_back():
        os.kill(os.getpid(), signal.SIGINT)
        done.append(True)
    assert done


@pytest.mark.parametrize("context", [first_signal_collected, signals_held_back])
def test_other_threads_handle_no_signals(context):
    handlers = []

    def run():
        with context():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
