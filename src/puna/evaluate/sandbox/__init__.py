"""Running programs that a model wrote, apart from everything else.

Such a program is taken for hostile. What holds it back, from the outside in:

```
a process of its own    no environment, no input, no output but a verdict of a few bytes, a session of its own that is
                        killed as one; limits on processor time, time on the clock, memory, files
namespaces              own user, processes, network, mounts, IPC: it sees an empty directory and Python's library
Landlock                of all files it may read Python's library, and write none
system calls            about a hundred are allowed; none that makes a process, a thread, a socket to elsewhere, sends a
                        signal, writes to a file or changes another process
```

The last one is the condition: where the kernel does not filter system calls, nothing is run. The two before it are used
where the kernel has them, which many containers forbid. Then `Isolation.not_held` says what remains open: without both,
a program can read what the user can read, and still has no way to send it anywhere but into the sentence of its error.

What none of this holds back: errors of the kernel and of the processor, and a program that cheats. It shares the
interpreter with the tests that judge it, so one that is written against this sandbox can say that it passed. Programs
that end early, print what they like or replace functions of Python do not.
"""
