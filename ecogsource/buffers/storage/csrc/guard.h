/* Looking at the map of a file without fear.
 *
 * If a file is cut short while it is looked at, or its disk or network fails, the system sends the
 * signal SIGBUS, which ends the process. Inside of `guarded` it ends the work instead. Elsewhere the
 * signal goes where it went before. */
#ifndef ECOGSOURCE_GUARD_H
#define ECOGSOURCE_GUARD_H

#include <Python.h>

#include <signal.h>

#ifdef SIGBUS

#include <setjmp.h>
#include <stdatomic.h>

/* Where this thread goes on if memory is lost; NULL outside of guarded work. */
static _Thread_local sigjmp_buf *volatile way_out;
/* Who had the signal before. */
static struct sigaction others;

static void
on_bus_error(int number, siginfo_t *info, void *Py_UNUSED(context))
{
    if (way_out != NULL) {
        siglongjmp(*way_out, 1);
    }
    /* Not ours. Whoever gets it may give it back to us: the second time it ends the process. */
    const struct sigaction next = others;
    others = (struct sigaction){.sa_handler = SIG_DFL};
    sigaction(number, &next, NULL);
    if (info->si_code <= 0) {
        raise(number);
    }
    /* Else it comes again by itself, with all that the system says of it. */
}

/* See to it that the signal comes here first; others may have taken it since. Called with the
 * interpreter lock. */
static void
watch(void)
{
    struct sigaction now;
    if (sigaction(SIGBUS, NULL, &now) < 0
        || ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus_error)) {
        return;
    }
    /* The handler is left by a jump, so the signal is not blocked in it. */
    struct sigaction ours = {.sa_sigaction = on_bus_error,
                             .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigemptyset(&ours.sa_mask);
    others = now;
    sigaction(SIGBUS, &ours, NULL);
}

/* Do work that allocates nothing and takes no lock; false if memory was lost on the way. */
static int
guarded(void (*work)(void *), void *what)
{
    sigjmp_buf out;
    if (sigsetjmp(out, 0)) {
        way_out = NULL;
        return 0;
    }
    way_out = &out;
    atomic_signal_fence(memory_order_seq_cst);
    work(what);
    atomic_signal_fence(memory_order_seq_cst);
    way_out = NULL;
    return 1;
}

#else

static void
watch(void)
{
}

static int
guarded(void (*work)(void *), void *what)
{
    work(what);
    return 1;
}

#endif

#endif
