/* The sender's steps: fieldloom_contract/stream.py, class Sender. Part of stream.pml. */

inline look() {   /* _next_items, without taking anything */
  d_step {
    suspicious = false;
    for (l : 0 .. LIVES - 1) {
      if
      :: oldest[l] > newest[l] || oldest[l] > suspects[l] -> suspects[l] = 0     /* _still_held */
      :: else
      fi;
      suspicious = suspicious || suspects[l] > 0
    }
    outstanding = 0;
    for (l : 0 .. WINDOW - 1) {
      if
      :: l < flights -> outstanding = outstanding + flying_to[l] - flying_from[l] + 1
      :: else
      fi
    }
    room = (suspicious -> (flights > 0 -> 0 : 1) : WINDOW - outstanding);
    room = (room > BATCH -> BATCH : room);
    next_life = 0; next_from = 0; next_to = 0;
    l = (flights > 0 -> flying_life[flights - 1] : 0);
    seq = (flights > 0 -> flying_to[flights - 1] + 1 : 1);
    do
    :: room == 0 || l >= LIVES -> break
    :: else ->
       seq = (seq < oldest[l] -> oldest[l] : seq);
       if
       :: seq <= newest[l] ->
          next_life = l; next_from = seq;
          next_to = (seq + room - 1 < newest[l] -> seq + room - 1 : newest[l]);
          break
       :: else -> l++; seq = 1
       fi
    od;
    l = 0; seq = 0; outstanding = 0; room = 0; suspicious = false
  }
}

inline clear_flights() {   /* Unused places hold 0, so that equal states are equal. */
  for (l : 0 .. WINDOW - 1) {
    if
    :: l >= flights -> flying_life[l] = 0; flying_from[l] = 0; flying_to[l] = 0; flying_first[l] = 0
    :: else
    fi
  }
}

inline forget_flight() {
  d_step { flights = 0; clear_flights(); l = 0 }
}

inline poll() {
#ifdef FIRST_OF_THE_NEWEST
  first = next_to;
#else
  first = oldest[next_life];
#endif
  if
  :: gateway == 0 -> up0!next_life, next_from, next_to, first
  :: else -> up1!next_life, next_from, next_to, first
  fi;
  flying_life[flights] = next_life;
  flying_from[flights] = next_from;
  flying_to[flights] = next_to;
  flying_first[flights] = first;
  flights++;
#ifdef DISCARDS_ON_SEND
  oldest[next_life] = next_to + 1;
#endif
  first = 0
}

inline acknowledge(boot, upto) {
  d_step {
    if
    :: upto >= oldest[boot] -> oldest[boot] = upto + 1     /* discard */
    :: else
    fi;
    kept = 0;
    for (l : 0 .. WINDOW - 1) {
      if
      :: l < flights && (flying_life[l] != boot || flying_to[l] > upto) ->
         flying_life[kept] = flying_life[l]; flying_from[kept] = flying_from[l];
         flying_to[kept] = flying_to[l]; flying_first[kept] = flying_first[l];
         kept++
      :: else
      fi
    }
    flights = kept;
    clear_flights();
    suspects[boot] = (suspects[boot] <= upto -> 0 : suspects[boot]);   /* _settle_suspects */
    kept = 0; l = 0
  }
}

inline give_up(boot, number) {
  assert(unreadable[boot] & BIT(number));                /* ADR 2: no innocent record is given up */
  reported[boot] = reported[boot] | BIT(number);
  oldest[boot] = number + 1;
  suspects[boot] = (suspects[boot] <= number -> 0 : suspects[boot])
}

#ifdef BELIEVES_ANY_REFUSAL
#define is_meant(refused)  true
#else
#define is_meant(refused)  (refused == FINGERPRINT(flying_life[0], flying_from[0], flying_to[0], flying_first[0]))
#endif

inline refuse(refused) {
  d_step {
    suspicious = false;
    for (l : 0 .. LIVES - 1) { suspicious = suspicious || suspects[l] > 0 }
    if
    :: !suspicious ->
       for (l : 0 .. WINDOW - 1) {
         if
         :: l < flights -> suspects[flying_life[l]] = flying_to[l]
         :: else
         fi
       }
       flights = 0
    :: suspicious && flights == 1 && is_meant(refused) ->
       /* Only the record at the front of the store, and only if it is the one that flew. */
       front = 0;
       do
       :: front < LIVES && oldest[front] > newest[front] -> front++
       :: else -> break
       od;
       if
       :: front == flying_life[0] && oldest[front] == flying_to[0] -> give_up(front, oldest[front])
       :: else
       fi;
       flights = 0
    :: else
    fi;
    clear_flights();
    l = 0; front = 0; suspicious = false
  }
}

inline start_again(kept) {   /* what was newer than `kept` was only in RAM */
  d_step {
    newest[life] = kept;
#ifdef LIFE_USED_AGAIN
    /* Its numbers are given again, so what is known of them is of other records. */
    stored[life] = stored[life] & UP_TO(kept); perished[life] = perished[life] & UP_TO(kept);
    for (l : 0 .. 1) {
      disk[l].outbox[life] = disk[l].outbox[life] & UP_TO(kept); rows[l].ever[life] = rows[l].ever[life] & UP_TO(kept)
    }
#else
    life++;
#endif
    for (l : 0 .. LIVES - 1) { suspects[l] = 0 }
    l = 0
  }
  forget_flight()
}

inline lose_flash() {
  for (l : 0 .. LIVES - 1) { newest[l] = (oldest[l] <= newest[l] -> oldest[l] - 1 : newest[l]) }
  l = 0;
  start_again(newest[life])
}

inline drop_by_policy() {
  d_step {
    front = 0;
    do
    :: front < LIVES && oldest[front] > newest[front] -> front++
    :: else -> break
    od;
    reported[front] = reported[front] | BIT(oldest[front]);
    oldest[front]++;
    front = 0
  }
}

#define holds_something  (oldest[0] <= newest[0] || oldest[life] <= newest[life])
#define misfortune       (misfortunes > 0) -> misfortunes--

active proctype Sender() {
  byte l, seq, first, boot, front, kept, room, outstanding;
  short refused;
  bool suspicious;
end:
  do
  :: atomic { to_measure > 0 -> to_measure--; newest[life]++; look() }
  :: atomic { to_measure > 0 && misfortune;      /* a record that nobody can read */
       to_measure--; newest[life]++; unreadable[life] = unreadable[life] | BIT(newest[life]); look() }
  :: atomic { next_from > 0 && ((gateway == 0 && nfull(up0)) || (gateway == 1 && nfull(up1))) -> poll(); look() }
  :: atomic { down?boot, seq, refused ->
       if
       :: seq > 0 -> acknowledge(boot, seq)
       :: else
       fi;
       if
       :: refused > 0 -> refuse(refused)
       :: else
       fi;
       boot = 0; seq = 0; refused = 0; look() }
  :: atomic { flights > 0 && quiet -> forget_flight(); look() }                    /* nobody answers: a resend */
  :: atomic { flights > 0 && misfortune; forget_flight(); look() }                 /* ... or one too early */
  :: atomic { misfortune; forget_flight(); gateway = 1 - gateway; look() }         /* disconnected, connected elsewhere */
  :: atomic { holds_something && misfortune; drop_by_policy(); look() }
  :: atomic { life < LIVES - 1 && misfortune;
       seq = newest[life];
       do
       :: seq >= oldest[life] -> seq--
       :: break
       od;
       start_again(seq); seq = 0; look() }
  :: atomic { life < LIVES - 1 && misfortune; lose_flash(); look() }
  od
}
