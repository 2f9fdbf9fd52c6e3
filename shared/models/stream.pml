/* The acknowledged stream as a model for spin: shared/fieldloom_contract/{stream,receiver,ranges}.py and the gateway's
 * ingest, step by step. (T4, T5, V1)
 *
 * One sender (a board) reports to one of two receivers (gateways) over links that lose, repeat and reorder. It may move
 * from one to the other, start again with any part of its newest records gone, lose its flash, drop the oldest record by
 * policy and carry a record that nobody can read. Receivers crash between any two steps and lose their disk. Each of these
 * is a misfortune; a run has MISFORTUNES of them at most, of any kind, at any moment, and after the last the link is up
 * for ever. Time is left out: whatever a clock decides (a resend, a dead link) may happen, early as a misfortune, or when
 * nothing moves any more.
 *
 * What is checked, in the words of docs/specification.md:
 *   T4  "everything accepted is durable before it is acknowledged"            an assertion in `answer`
 *   T5  "loses nothing that was acknowledged ... and stores nothing twice"    assertions in `answer`, `commit`, `uplink`
 *   ADR 2  only the record that can't be read is given up                     an assertion in `give_up`
 *   progress: in the end every record is stored, or reported as dropped, or was lost by a board that started again
 *   before any receiver had acknowledged it                                   LTL `progress`; it needs no fairness,
 *                                            because a run without misfortunes is finite, and that is what it proves too
 *
 * Left out: kinds and sizes of records (a message is a run of up to BATCH), and the report of a drop, which is one more
 * record. A seq is a bit of a mask: at most eight of a life.
 *
 * Each fault at the end of this list, given by -D, has to be found: tests/models/test_stream.py.
 *   ACKNOWLEDGES_BEFORE_COMMIT  ACKNOWLEDGES_OVER_GAPS  FORGETS_RANGES  WAITS_BELOW_FIRST        (receiver)
 *   DISCARDS_ON_SEND  FIRST_OF_THE_NEWEST  BELIEVES_ANY_REFUSAL  LIFE_USED_AGAIN                 (sender)
 */
#ifndef RECORDS
#define RECORDS 3     /* that the board takes in all its lives */
#endif
#ifndef WINDOW
#define WINDOW 2      /* records in flight */
#endif
#ifndef BATCH
#define BATCH 2       /* records in a message */
#endif
#ifndef DEPTH
#define DEPTH 2       /* messages on a link */
#endif
#ifndef LIVES
#define LIVES 2       /* boots: one more than the starts that a run may have */
#endif
#ifndef MISFORTUNES
#define MISFORTUNES 2
#endif

#define BIT(seq)        (1 << ((seq) - 1))
#define UP_TO(seq)      ((1 << (seq)) - 1)
#define RUN(from, to)   (UP_TO(to) & ~UP_TO((from) - 1))
#define FINGERPRINT(life, from, to, first)  (((((life) * 8 + (from)) * 8 + (to)) * 8 + (first)) + 1)

mtype = { IDLE, TAKEN, COMMITTED };

chan up0 = [DEPTH] of { byte, byte, byte, byte };   /* life, from, to, first */
chan up1 = [DEPTH] of { byte, byte, byte, byte };
chan down = [DEPTH] of { byte, byte, short };       /* life, seq, refused: a fingerprint or 0 */

byte misfortunes = MISFORTUNES;

/* The board: its store holds oldest..newest of each life; numbers are never given twice. */
byte life, gateway, to_measure = RECORDS;
byte oldest[LIVES] = 1;
byte newest[LIVES];
byte flights;                      /* messages without an answer, oldest first */
byte flying_life[WINDOW], flying_from[WINDOW], flying_to[WINDOW], flying_first[WINDOW];
byte suspects[LIVES];              /* up to which records are sent one by one; 0: none */
byte next_life, next_from, next_to;  /* what `poll` sends next, as `look` has found; next_from 0: nothing */

/* The gateways: what is on the disk, and the transaction that is not there yet. */
mtype phase[2] = IDLE;
typedef Disk { byte had[LIVES]; byte outbox[LIVES] };
Disk disk[2];
byte taken_life[2], taken_new[2], taken_had[2];
short taken_refused[2];

/* What happened, by life: for the properties alone. */
byte unreadable[LIVES], stored[LIVES], reported[LIVES], perished[LIVES];
typedef Rows { byte ever[LIVES] };
Rows rows[2];                      /* what a gateway's disk has ever taken into its outbox */

#define DURABLE(l)    (stored[l] | disk[0].outbox[l] | disk[1].outbox[l] | perished[l])
#define quiet         (len(up0) + len(up1) + len(down) == 0 && phase[0] == IDLE && phase[1] == IDLE)
#define told(l)       (((stored[l] | reported[l] | perished[l]) & UP_TO(newest[l])) == UP_TO(newest[l]) && oldest[l] > newest[l])
#if LIVES == 1
#define all_told      told(0)
#elif LIVES == 2
#define all_told      (told(0) && told(1))
#else
#define all_told      (told(0) && told(1) && told(2))
#endif
#define settled       (to_measure == 0 && quiet && all_told)

ltl progress { <> [] settled }

#include "sender.pml"
#include "receiver.pml"

/* ---------------------------------------------------------------- links: QoS 0, and worse than TCP */

inline suffer(link) {
  if
  :: nempty(link) -> link?a, b, c, d                                  /* lost */
  :: nempty(link) && nfull(link) -> link?<a, b, c, d>; link!a, b, c, d   /* repeated */
  :: len(link) > 1 -> link?a, b, c, d; link!a, b, c, d                /* overtaken */
  fi;
  a = 0; b = 0; c = 0; d = 0
}

proctype Links() {
  byte a, b, c, d;
  short refused;
end:
  do
  :: atomic { nempty(up0) && misfortune; suffer(up0) }
  :: atomic { nempty(up1) && misfortune; suffer(up1) }
  :: atomic { nempty(down) && misfortune;
       if
       :: down?a, b, refused
       :: nfull(down) -> down?<a, b, refused>; down!a, b, refused
       :: len(down) > 1 -> down?a, b, refused; down!a, b, refused
       fi;
       a = 0; b = 0; refused = 0 }
  od
}

init {
  atomic { run Receiver(0, up0); run Receiver(1, up1); run Links() }
}
