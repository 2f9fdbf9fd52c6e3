/* The receiver's steps: fieldloom_contract/ranges.py and the gateway's ingest. Part of stream.pml. */

inline take(boot, from, to, first) {
  d_step {
    if
    :: unreadable[boot] & RUN(from, to) ->
       taken_refused[g] = FINGERPRINT(boot, from, to, first);
       taken_life[g] = boot; taken_new[g] = 0; taken_had[g] = disk[g].had[boot]
    :: else ->
       taken_life[g] = boot;
       taken_new[g] = RUN(from, to) & ~disk[g].had[boot];
       taken_had[g] = disk[g].had[boot] | RUN(from, to);
#ifndef WAITS_BELOW_FIRST
       taken_had[g] = taken_had[g] | UP_TO(first - 1)     /* settle */
#endif
    fi
  }
}

inline commit() {
  assert((rows[g].ever[taken_life[g]] & taken_new[g]) == 0);          /* T5: nothing is stored twice */
  rows[g].ever[taken_life[g]] = rows[g].ever[taken_life[g]] | taken_new[g];
  disk[g].had[taken_life[g]] = taken_had[g];
  disk[g].outbox[taken_life[g]] = disk[g].outbox[taken_life[g]] | taken_new[g]
}

inline answer() {
  d_step {
    seq = 0;
#ifdef ACKNOWLEDGES_OVER_GAPS
    for (n : 1 .. RECORDS) { seq = ((taken_had[g] & BIT(n)) -> n : seq) }
#else
    do
    :: taken_had[g] & BIT(seq + 1) -> seq++
    :: else -> break
    od;
#endif
    /* T4: durable before it is acknowledged. T5: nothing that is acknowledged is lost. */
    assert(((DURABLE(taken_life[g]) | reported[taken_life[g]]) & UP_TO(seq)) == UP_TO(seq));
    n = 0
  }
  down!taken_life[g], seq, taken_refused[g];
  seq = 0
}

inline rest() {
  phase[g] = IDLE; taken_life[g] = 0; taken_new[g] = 0; taken_had[g] = 0; taken_refused[g] = 0
}

inline uplink() {   /* The store's ranges decide over all gateways (decision 2). */
  d_step {
    for (n : 0 .. LIVES - 1) {
      stored[n] = stored[n] | disk[g].outbox[n];
      disk[g].outbox[n] = 0
    }
    n = 0
  }
}

inline crash() {   /* Memory is gone; the next start reads the disk. */
  rest();
#ifdef FORGETS_RANGES
  for (n : 0 .. LIVES - 1) { disk[g].had[n] = 0 }
  n = 0
#endif
}

inline lose_disk() {
  d_step {
    for (n : 0 .. LIVES - 1) {
      perished[n] = perished[n] | disk[g].outbox[n];
      disk[g].outbox[n] = 0; disk[g].had[n] = 0; rows[g].ever[n] = 0
    }
    n = 0
  }
  rest()
}

#if LIVES == 1
#define outbox_waits  (disk[g].outbox[0])
#elif LIVES == 2
#define outbox_waits  (disk[g].outbox[0] | disk[g].outbox[1])
#else
#define outbox_waits  (disk[g].outbox[0] | disk[g].outbox[1] | disk[g].outbox[2])
#endif

proctype Receiver(byte g; chan up) {
  byte boot, from, to, first, seq, n;
end:
  do
  :: atomic { phase[g] == IDLE && nempty(up) -> up?boot, from, to, first; take(boot, from, to, first);
       boot = 0; from = 0; to = 0; first = 0; phase[g] = TAKEN }
#ifdef ACKNOWLEDGES_BEFORE_COMMIT
  :: atomic { phase[g] == TAKEN && nfull(down) -> answer(); phase[g] = COMMITTED }
  :: atomic { phase[g] == COMMITTED -> commit(); rest() }
#else
  :: atomic { phase[g] == TAKEN -> commit(); phase[g] = COMMITTED }
  :: atomic { phase[g] == COMMITTED && nfull(down) -> answer(); rest() }
#endif
  :: atomic { outbox_waits -> uplink() }
  :: atomic { misfortune; crash() }
  :: atomic { misfortune; lose_disk() }
  od
}
