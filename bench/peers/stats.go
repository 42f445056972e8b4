package main

import (
	"slices"
)

// A spread is what repeats of a measurement say.
type spread struct {
	median, low, high float64
	n                 int
}

// spreadOf is the median of values with the least and the greatest; it sorts them.
func spreadOf(values []float64) spread {
	n := len(values)
	if n == 0 {
		return spread{}
	}
	slices.Sort(values)
	return spread{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1], n}
}

// value is a metric of one run, false if it has none. A run that failed has memory and nothing else to say.
func (rec record) value(metric string) (float64, bool) {
	if rec.Failure != "" {
		return 0, false
	}
	v, ok := rec.Metrics[metric]
	return v, ok
}

// of is a metric of a peer at a point of a row.
func (r *results) of(row string, x float64, peer, metric string) spread {
	var values []float64
	for _, rec := range r.Records {
		if rec.Row == row && rec.X == x && rec.Peer == peer {
			if v, ok := rec.value(metric); ok {
				values = append(values, v)
			}
		}
	}
	return spreadOf(values)
}

// ratio is a metric of sluice over that of a peer, repeat by repeat.
func (r *results) ratio(row string, x float64, peer, metric string) spread {
	ours, theirs := map[int]float64{}, map[int]float64{}
	for _, rec := range r.Records {
		if rec.Row != row || rec.X != x {
			continue
		}
		v, ok := rec.value(metric)
		switch {
		case !ok || v == 0:
		case rec.Peer == sluice:
			ours[rec.Repeat] = v
		case rec.Peer == peer:
			theirs[rec.Repeat] = v
		}
	}
	var values []float64
	for repeat, v := range theirs {
		if own, ok := ours[repeat]; ok {
			values = append(values, own/v)
		}
	}
	return spreadOf(values)
}

// failures are why runs of a peer at a point do not count.
func (r *results) failures(row string, x float64, peer string) (why []string) {
	for _, rec := range r.Records {
		if rec.Row == row && rec.X == x && rec.Peer == peer && rec.Failure != "" {
			why = append(why, rec.Failure)
		}
	}
	return why
}

// A verdict is a target and how sluice stands to it.
type verdict struct {
	target
	got spread
	met bool
}

// judge looks at a target where the row has to meet it, and takes the worst; false if it was not measured.
func (r *results) judge(row row, t target) (v verdict, ok bool) {
	for _, pt := range row.Points[:max(min(row.Judged, len(row.Points)), 1)] {
		s := r.of(row.Name, pt.X, sluice, t.Metric)
		if t.Against != "" {
			s = r.ratio(row.Name, pt.X, t.Against, t.Metric)
		}
		if s.n == 0 {
			return verdict{target: t}, false
		}
		worse := s.median > v.got.median
		if t.AtLeast {
			worse = !worse
		}
		if v.got.n == 0 || worse {
			v.got = s
		}
	}
	v.target = t
	v.met = v.got.median <= t.Bound
	if t.AtLeast {
		v.met = v.got.median >= t.Bound
	}
	return v, true
}
