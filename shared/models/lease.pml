/* The lease of a partition and its fenced hand-over as a model for spin: fieldloom_gateway/cluster/partitions, step by
 * step. (D4, D7, V1; decision 4 of docs/architecture.md)
 *
 * Gateways share a log. What is in it is decided once, in one order; each gateway applies it as late as it likes. The log
 * holds who owns the partition, under which version (the fencing number), how often the lease was renewed, who is to have
 * the partition next, and how far the owner's checkpoint has come. A gateway proposes, and every proposal names what it was
 * made on, so that the log can refuse it.
 *
 * Time passes in ticks, of which a gateway counts ages by its own monotonic clock. LEASE is the longest that a lease of 2 s
 * may last by a clock that is too slow, WAIT the shortest that a wait of 2.5 s may last by one that is too fast: rates may
 * differ by a fifth. A gateway may be paused between any two steps, which is to say that time passes and others move.
 *
 * Misfortunes, MISFORTUNES of them at most, of any kind, at any moment: a proposal is lost; its gateway gives it up, though
 * it is still decided later; a gateway is killed, and one of them for ever; the partition is moved by order.
 *
 * What is checked, in the words of docs/specification.md:
 *   D4  "never lets two owners act (fencing by assignment version)"   assertions in `apply` (no two gateways hold the lease
 *                                                    at a moment) and in `decide` (only the owner's checkpoint is taken)
 *   D4  "hand-over carries state"                    an assertion in `decide`: a checkpoint goes on from the last one
 *   W8  "a dead gateway's instances go on at a peer" LTL `progress`: in the end somebody alive owns the partition. It needs
 *                                                    no fairness, because every run is finite, and that is what it proves too
 *
 * Not in the model: the log itself (the history checker holds that), and effects outside of it. A gateway that is paused
 * after it has looked at its lease sends a command late; its id makes that harmless (W6).
 *
 * Each fault of this list, given by -D, has to be found: tests/models/test_lease.py.
 *   WAITS_TOO_SHORT  COUNTS_FROM_THE_ANSWER  TAKES_WHAT_WAS_RENEWED  REMEMBERS_ITS_LEASE
 *   TAKES_ANY_ATTEMPT_FOR_THE_LAST  UNFENCED  ACTS_WHILE_HANDING_OVER  RELEASES_WHAT_WAS_RENEWED  NOBODY_TAKES_OVER
 */
#ifndef GATEWAYS
#define GATEWAYS 2
#endif
#ifndef RENEWALS
#define RENEWALS 3    /* entries that renew or assign: a bound of the run */
#endif
#ifndef CHECKPOINTS
#define CHECKPOINTS 2
#endif
#ifndef MISFORTUNES
#define MISFORTUNES 2
#endif
#define LEASE 2
#ifdef WAITS_TOO_SHORT
#define WAIT 1
#else
#define WAIT 2
#endif
#define LONG 2        /* an age beyond which nothing changes */
#define NOBODY 7

mtype = { RENEW, TAKE, RELEASE, CHECKPOINT };   /* proposals */
mtype = { FREE, PENDING, DECIDED };             /* of a gateway's latest proposal */

/* kind, gateway, version and renewal that it was made on, attempt or checkpoint */
chan proposals = [GATEWAYS + MISFORTUNES] of { mtype, byte, byte, byte, byte };

typedef Partition { byte owner; byte version; byte renewal; byte attempt; byte heir; byte checkpoint };
Partition log_;                /* as decided */
Partition seen[GATEWAYS];      /* as applied there */

byte since_seen[GATEWAYS];     /* age of the last renewal, counted from when it was applied here */
byte since_asked[GATEWAYS];    /* age of the proposal that asks for the lease, counted from before it was made */
byte since_held[GATEWAYS];     /* age of the lease that is held: that of the proposal which won it */
byte attempt[GATEWAYS];        /* numbers such proposals: none is taken for another */
byte asked[GATEWAYS];          /* the last of them since the start; 0: none */
bool leaving[GATEWAYS];        /* it has stopped to act under this version, for the heir's sake */
mtype answer[GATEWAYS];
bool dead[GATEWAYS];
byte gone = NOBODY;            /* dead for ever */
byte misfortunes = MISFORTUNES;

#define misfortune      (misfortunes > 0)
#define in_lease(g)     (seen[g].owner == g && since_held[g] < LEASE)
#define acts(g)         (!dead[g] && in_lease(g) && !leaving[g])
#if GATEWAYS == 2
#define at_most_one     (!(acts(0) && acts(1)))
#else
#define at_most_one     (!(acts(0) && acts(1)) && !(acts(0) && acts(2)) && !(acts(1) && acts(2)))
#endif
#define owned           (log_.owner != gone && !dead[log_.owner])

ltl progress { <> [] owned }

/* ---------------------------------------------------------------- the log: one decision at a time */

#define current   (version == log_.version)
#define newest    (current && renewal == log_.renewal)

inline renew(by) {
  log_.renewal++;
  log_.attempt = by
}

inline assign(g, by) {
  renew(by);
  log_.owner = g;
  log_.version++;
  log_.heir = NOBODY
}

/* What becomes of a proposal: the conditions are those of the transaction that it is in. */
inline decide() {
  if
  :: kind == RENEW && newest -> renew(argument)
#ifdef TAKES_WHAT_WAS_RENEWED
  :: kind == TAKE && current -> assign(g, argument)
#else
  :: kind == TAKE && newest -> assign(g, argument)
#endif
#ifdef RELEASES_WHAT_WAS_RENEWED
  :: kind == RELEASE && current && log_.heir != NOBODY -> assign(log_.heir, 0)
#else
  :: kind == RELEASE && newest && log_.heir != NOBODY -> assign(log_.heir, 0)
#endif
#ifdef UNFENCED
  :: kind == CHECKPOINT && argument > log_.checkpoint ->
#else
  :: kind == CHECKPOINT && current && argument > log_.checkpoint ->
#endif
       assert(log_.owner == g);
       assert(argument == log_.checkpoint + 1);
       log_.checkpoint = argument
  :: else      /* refused */
  fi
}

inline answered() {
  if
  :: answer[g] == PENDING -> answer[g] = DECIDED
  :: else
  fi;
  kind = 0; g = 0; version = 0; renewal = 0; argument = 0
}

/* Proposals of different kinds overtake each other. */
inline next() {
  if
  :: proposals??RENEW, g, version, renewal, argument -> kind = RENEW
  :: proposals??TAKE, g, version, renewal, argument -> kind = TAKE
  :: proposals??RELEASE, g, version, renewal, argument -> kind = RELEASE
  :: proposals??CHECKPOINT, g, version, renewal, argument -> kind = CHECKPOINT
  fi
}

proctype Log() {
  mtype kind;
  byte g, version, renewal, argument;
end:
  do
  :: atomic { nempty(proposals) -> next(); decide(); answered() }
  :: atomic { misfortune && nempty(proposals) -> misfortunes--; next(); answered() }   /* lost */
  :: atomic { misfortune && log_.heir == NOBODY && log_.renewal < RENEWALS ->          /* moved by order */
       misfortunes--; log_.heir = (log_.owner + 1) % GATEWAYS }
  od
}

inline pass(age) {
  if
  :: age < LONG -> age++
  :: else
  fi
}

#define young(g)        (since_seen[g] < LONG || since_asked[g] < LONG || since_held[g] < LONG)
#if GATEWAYS == 2
#define time_matters    (young(0) || young(1))
#else
#define time_matters    (young(0) || young(1) || young(2))
#endif

proctype Clock() {
  byte g;
end:
  do
  :: d_step { time_matters ->
       for (g : 0 .. GATEWAYS - 1) {
         pass(since_seen[g]); pass(since_asked[g]); pass(since_held[g])
       }
       g = 0 }
  od
}

/* ---------------------------------------------------------------- a gateway */

/* Apply all that is decided. A lease is as old as the proposal that won it. */
inline apply() {
  if
  :: seen[me].renewal == log_.renewal
  :: else ->
       since_seen[me] = 0;
       if
#ifdef TAKES_ANY_ATTEMPT_FOR_THE_LAST
       :: log_.owner == me && log_.attempt > 0 && asked[me] > 0 ->
#else
       :: log_.owner == me && log_.attempt > 0 && log_.attempt == asked[me] ->
#endif
#ifdef COUNTS_FROM_THE_ANSWER
            since_held[me] = 0
#else
            since_held[me] = since_asked[me]
#endif
       :: else
       fi
  fi;
  if
  :: seen[me].version == log_.version
  :: else -> leaving[me] = false
  fi;
  seen[me].owner = log_.owner;
  seen[me].version = log_.version;
  seen[me].renewal = log_.renewal;
  seen[me].heir = log_.heir;
  seen[me].checkpoint = log_.checkpoint;
  if
  :: answer[me] == DECIDED -> answer[me] = FREE
  :: else
  fi;
  assert(at_most_one)
}

#define behind          (seen[me].renewal != log_.renewal || seen[me].heir != log_.heir \
                         || seen[me].checkpoint != log_.checkpoint || answer[me] == DECIDED)
#define alive           (!dead[me])
#define free            (alive && answer[me] == FREE)
#define owns            (seen[me].owner == me)

inline propose(kind, argument) {
  answer[me] = PENDING;
  proposals!kind, me, seen[me].version, seen[me].renewal, argument
}

inline ask(kind) {
  attempt[me]++;
  asked[me] = attempt[me];
  since_asked[me] = 0;
  propose(kind, asked[me])
}

proctype Gateway(byte me) {
end:
  do
  :: d_step { alive && behind -> apply() }

  /* The owner keeps its lease. */
  :: d_step { free && owns && !leaving[me] && seen[me].renewal < RENEWALS -> ask(RENEW) }

  /* The owner acts, and its checkpoint says so. It looked at its lease before; the rest takes as long as it likes. */
  :: d_step { free && acts(me) && seen[me].checkpoint < CHECKPOINTS -> propose(CHECKPOINT, seen[me].checkpoint + 1) }

  /* The owner hands over: it stops, and only then lets go. */
  :: d_step { free && owns && seen[me].heir != NOBODY ->
#ifndef ACTS_WHILE_HANDING_OVER
       leaving[me] = true;
#endif
       propose(RELEASE, 0) }

#ifndef NOBODY_TAKES_OVER
  /* A successor has heard of no renewal for as long as it waits. */
  :: d_step { free && !owns && since_seen[me] >= WAIT && (seen[me].renewal < RENEWALS || seen[me].owner == gone) ->
       ask(TAKE) }
#endif

  :: d_step { misfortune && answer[me] == PENDING -> misfortunes--; answer[me] = FREE }      /* gives it up */

  :: d_step { misfortune && alive -> misfortunes--; dead[me] = true; answer[me] = FREE }     /* killed */

  :: d_step { dead[me] && gone == NOBODY -> gone = me }

  /* It starts again: the log is on its disk; what it knew of time is gone. */
  :: d_step { dead[me] && gone != me ->
       dead[me] = false; asked[me] = 0; since_asked[me] = LONG; since_seen[me] = 0; leaving[me] = false;
#ifdef REMEMBERS_ITS_LEASE
       since_held[me] = 0;
#else
       since_held[me] = LONG;
#endif
       assert(at_most_one) }
  od
}

init {
  byte g;
  atomic {
    log_.heir = NOBODY;
    for (g : 0 .. GATEWAYS - 1) {
      seen[g].heir = NOBODY; answer[g] = FREE; since_held[g] = LONG; since_asked[g] = LONG;
      run Gateway(g)
    }
    run Log(); run Clock(); g = 0
  }
}
