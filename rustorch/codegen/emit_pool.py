"""The worker pool as LLVM text: one `parallel_for` for all compiled code of a process. Note [How the pool works] below.

    void rt_parallel_for(ptr context, i64 n, ptr body, ptr argument)

calls `body(argument, low, high)` until every task 0 .. n-1 has been in one such range, on the calling thread and on workers. The object
has no undefined symbol: what it needs of the system (`pthread_create`, `pthread_detach`, `syscall`) are addresses in the pool's record,
whose fields are `POOL` in `artifact.py`.
"""

from __future__ import annotations

from rustorch.artifact import MOST_THREADS, POOL, WORKER_BYTES
from rustorch.codegen.emit_llvm import ATTRIBUTES

PARALLEL_FOR, RESIZE, WORKER = "rt_parallel_for", "rt_pool_resize", "rt_pool_worker"
SPINS = 1500
"""Turns of a worker that waits for work before it sleeps, some 20 to 90 microseconds."""
PATIENCE = 256
"""Turns of a caller that waits for workers before it gives its processor away between turns."""
_CLOSED = 1 << 30
"""What `members` is less by while no loop is open."""
_FUTEX, _MASK_SIGNALS, _YIELD = 202, 14, 24
_WAIT_PRIVATE, _WAKE_PRIVATE = 128, 129


def pool_text() -> str:
    """The module."""
    fields = {name: f"  %{name} = getelementptr i8, ptr %pool, i64 {offset}" for name, offset in POOL.items()}

    def pointers(*names: str) -> str:
        return "\n".join(fields[name] for name in names)

    def call_system(number: int, *arguments: str) -> str:
        padded = [*arguments, *["i64 0"] * (6 - len(arguments))]
        return f"call i64 (i64, ...) %system(i64 {number}, {', '.join(padded)})"

    return f"""declare void @llvm.x86.sse2.pause()

define void @{PARALLEL_FOR}(ptr %pool, i64 %n, ptr %run, ptr %with) {ATTRIBUTES} {{
entry:
{pointers("generation", "members", "next", "busy", "alive", "wanted", "sleepers", "body", "argument", "tasks", "grain", "syscall")}
  %threads = load atomic i32, ptr %wanted monotonic, align 4
  %alone = icmp slt i32 %threads, 2
  %short = icmp slt i64 %n, 2
  %simple = or i1 %alone, %short
  br i1 %simple, label %serial, label %try
try:
  %pair = cmpxchg ptr %busy, i32 0, i32 1 acquire monotonic
  %free = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %free, label %check, label %serial
serial:
  call void %run(ptr %with, i64 0, i64 %n)
  ret void
check:
  %living = load atomic i32, ptr %alive monotonic, align 4
  %others = sub i32 %threads, 1
  %missing = icmp slt i32 %living, %others
  br i1 %missing, label %start, label %open
start:
  call void @start(ptr %pool)
  br label %open
open:
  store ptr %run, ptr %body, align 8
  store ptr %with, ptr %argument, align 8
  store i64 %n, ptr %tasks, align 8
  %threads64 = zext i32 %threads to i64
  %shares = shl i64 %threads64, 3
  %share = udiv i64 %n, %shares
  %step = call i64 @llvm.smax.i64(i64 %share, i64 1)
  store i64 %step, ptr %grain, align 8
  store atomic i64 0, ptr %next monotonic, align 8
  %before = atomicrmw add ptr %members, i32 {_CLOSED} seq_cst
  %old = atomicrmw add ptr %generation, i32 1 seq_cst
  %asleep = load atomic i32, ptr %sleepers seq_cst, align 4
  %any = icmp sgt i32 %asleep, 0
  br i1 %any, label %wake, label %work
wake:
  %rest = sub i64 %n, 1
  %others64 = zext i32 %others to i64
  %few = call i64 @llvm.smin.i64(i64 %rest, i64 %others64)
  %system = load ptr, ptr %syscall, align 8
  %woken = {call_system(_FUTEX, "ptr %generation", f"i64 {_WAKE_PRIVATE}", "i64 %few")}
  br label %work
work:
  call void @tasks(ptr %pool)
  %inside = atomicrmw sub ptr %members, i32 {_CLOSED} seq_cst
  br label %wait
wait:
  %turn = phi i32 [0, %work], [%following, %spin], [%turn, %yield]
  %present = load atomic i32, ptr %members acquire, align 4
  %empty = icmp eq i32 %present, -{_CLOSED}
  br i1 %empty, label %done, label %pause
pause:
  %patient = icmp slt i32 %turn, {PATIENCE}
  br i1 %patient, label %spin, label %yield
spin:
  call void @llvm.x86.sse2.pause()
  %following = add i32 %turn, 1
  br label %wait
yield:
  %system2 = load ptr, ptr %syscall, align 8
  %yielded = {call_system(_YIELD).replace("%system", "%system2")}
  br label %wait
done:
  store atomic i32 0, ptr %busy release, align 4
  ret void
}}

define internal void @tasks(ptr %pool) noinline {ATTRIBUTES} {{
entry:
{pointers("next", "body", "argument", "tasks", "grain")}
  %run = load ptr, ptr %body, align 8
  %with = load ptr, ptr %argument, align 8
  %n = load i64, ptr %tasks, align 8
  %step = load i64, ptr %grain, align 8
  br label %take
take:
  %low = atomicrmw add ptr %next, i64 %step monotonic
  %more = icmp slt i64 %low, %n
  br i1 %more, label %some, label %none
some:
  %end = add i64 %low, %step
  %high = call i64 @llvm.smin.i64(i64 %end, i64 %n)
  call void %run(ptr %with, i64 %low, i64 %high)
  br label %take
none:
  ret void
}}

define ptr @{WORKER}(ptr %own) {ATTRIBUTES} {{
entry:
  %pool = load ptr, ptr %own, align 8
  %number.p = getelementptr i8, ptr %own, i64 8
  %number = load i64, ptr %number.p, align 8
  %id = trunc i64 %number to i32
{pointers("generation", "members", "alive", "wanted", "sleepers", "syscall")}
  br label %rest
rest:
  %last = phi i32 [0, %entry], [%last, %awake], [%now, %closed], [%now, %leave]
  br label %look
look:
  %turn = phi i32 [0, %rest], [%following, %pause]
  %now = load atomic i32, ptr %generation acquire, align 4
  %new = icmp ne i32 %now, %last
  br i1 %new, label %called, label %idle
idle:
  %patient = icmp slt i32 %turn, {SPINS}
  br i1 %patient, label %pause, label %sleep
pause:
  call void @llvm.x86.sse2.pause()
  %following = add i32 %turn, 1
  br label %look
sleep:
  %s1 = atomicrmw add ptr %sleepers, i32 1 seq_cst
  %again = load atomic i32, ptr %generation seq_cst, align 4
  %same = icmp eq i32 %again, %last
  br i1 %same, label %wait, label %awake
wait:
  %system = load ptr, ptr %syscall, align 8
  %expected = zext i32 %last to i64
  %slept = {call_system(_FUTEX, "ptr %generation", f"i64 {_WAIT_PRIVATE}", "i64 %expected")}
  br label %awake
awake:
  %s2 = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  br label %rest
called:
  %threads = load atomic i32, ptr %wanted acquire, align 4
  %others = sub i32 %threads, 1
  %needed = icmp slt i32 %id, %others
  br i1 %needed, label %enter, label %retire
retire:
  %a = atomicrmw sub ptr %alive, i32 1 release
  ret ptr null
enter:
  %m = atomicrmw add ptr %members, i32 1 acquire
  %is_open = icmp sge i32 %m, 0
  br i1 %is_open, label %join, label %closed
join:
  call void @tasks(ptr %pool)
  br label %leave
leave:
  %m1 = atomicrmw sub ptr %members, i32 1 release
  br label %rest
closed:
  %m2 = atomicrmw sub ptr %members, i32 1 release
  br label %rest
}}

define internal void @start(ptr %pool) noinline {ATTRIBUTES} {{
entry:
{pointers("alive", "wanted", "syscall", "create", "detach", "workers")}
  %handle = alloca i64, align 8
  %all = alloca i64, align 8
  %mask = alloca i64, align 8
  %make = load ptr, ptr %create, align 8
  %release = load ptr, ptr %detach, align 8
  %system = load ptr, ptr %syscall, align 8
  store i64 -1, ptr %all, align 8
  %b = {call_system(_MASK_SIGNALS, "i64 2", "ptr %all", "ptr %mask", "i64 8")}
  br label %next
next:
  %id = load atomic i32, ptr %alive monotonic, align 4
  %threads = load atomic i32, ptr %wanted monotonic, align 4
  %others = sub i32 %threads, 1
  %more = icmp slt i32 %id, %others
  br i1 %more, label %one, label %end
one:
  %number = zext i32 %id to i64
  %offset = mul i64 %number, {WORKER_BYTES}
  %own = getelementptr i8, ptr %workers, i64 %offset
  %number.p = getelementptr i8, ptr %own, i64 8
  store ptr %pool, ptr %own, align 8
  store i64 %number, ptr %number.p, align 8
  %failed = call i32 %make(ptr %handle, ptr null, ptr @{WORKER}, ptr %own)
  %made = icmp eq i32 %failed, 0
  br i1 %made, label %count, label %refused
count:
  %thread = load i64, ptr %handle, align 8
  %d = call i32 %release(i64 %thread)
  %a = atomicrmw add ptr %alive, i32 1 monotonic
  br label %next
refused:
  %possible = add i32 %id, 1
  store atomic i32 %possible, ptr %wanted monotonic, align 4
  br label %end
end:
  %u = {call_system(_MASK_SIGNALS, "i64 2", "ptr %mask", "ptr null", "i64 8")}
  ret void
}}

define void @{RESIZE}(ptr %pool, i32 %threads) {ATTRIBUTES} {{
entry:
{pointers("generation", "busy", "alive", "wanted", "sleepers", "syscall")}
  %system = load ptr, ptr %syscall, align 8
  %limited = call i32 @llvm.smin.i32(i32 %threads, i32 {MOST_THREADS})
  br label %lock
lock:
  %pair = cmpxchg ptr %busy, i32 0, i32 1 acquire monotonic
  %free = extractvalue {{ i32, i1 }} %pair, 1
  br i1 %free, label %locked, label %later
later:
  %y1 = {call_system(_YIELD)}
  br label %lock
locked:
  store atomic i32 %limited, ptr %wanted release, align 4
  %others = sub i32 %limited, 1
  %old = atomicrmw add ptr %generation, i32 1 seq_cst
  %woken = {call_system(_FUTEX, "ptr %generation", f"i64 {_WAKE_PRIVATE}", "i64 2147483647")}
  br label %wait
wait:
  %living = load atomic i32, ptr %alive acquire, align 4
  %many = icmp sgt i32 %living, %others
  br i1 %many, label %yield, label %done
yield:
  %y2 = {call_system(_YIELD)}
  br label %wait
done:
  store atomic i32 0, ptr %busy release, align 4
  ret void
}}

declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
declare i32 @llvm.smin.i32(i32, i32)
"""


# Note [How the pool works]
#
# A caller takes `busy`; who finds it taken runs its loop alone, with the same bits, since tasks do not depend on who runs them. It writes
# the loop into the record, opens the door and raises `generation`, on which workers spin or sleep. The door is the count `members`: less
# `_CLOSED` while there is no loop. A worker adds itself; where the sum is negative, it was late, and takes itself off again. Caller and
# workers take tasks from the counter `next`. When none is left the caller closes the door and waits until those inside have left; who has
# not come by then is not waited for, so a worker that wakes slowly costs nothing.
#
# A worker is counted in `sleepers` before it looks at `generation` a last time, and a caller raises `generation` before it looks at
# `sleepers`, so no call is missed. Workers start in the first loop that wants them, with all signals blocked: Ctrl-C goes to the thread
# that Python expects it in. Where the system refuses a thread, the pool is as large as it could be made. After a fork the child's record
# is set anew, and its workers start when they are wanted.
