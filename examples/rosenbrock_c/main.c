/* Newton's method with conjugate gradients on an exported function: the Hessian is only ever multiplied with vectors. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rosenbrock.h"

static double dot(size_t n, const double *a, const double *b) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static void *room(size_t bytes) {
  void *memory = aligned_alloc(64, (bytes / 64 + 1) * 64);
  if (!memory) exit(2);
  return memory;
}

static void check(int status) {
  if (status == RT_OK) return;
  fprintf(stderr, "rosenbrock: status %d\n", status);
  exit(1);
}

/* p with H p = -g, as far as curvature and patience go. */
static void newton_direction(size_t n, const double *x, const double *g, double *p, double *r, double *d, double *h, void *work) {
  memset(p, 0, n * sizeof *p);
  for (size_t i = 0; i < n; i++) d[i] = r[i] = -g[i];
  double rr = dot(n, r, r), enough = rr * fmin(0.25, sqrt(rr));
  for (size_t step = 0; step < n && rr > enough; step++) {
    check(rosenbrock_hvp((int64_t)n, x, d, h, work));
    double curvature = dot(n, d, h);
    if (curvature <= 0) {
      if (step == 0) memcpy(p, d, n * sizeof *p);
      return;
    }
    double alpha = rr / curvature, before = rr;
    for (size_t i = 0; i < n; i++) {
      p[i] += alpha * d[i];
      r[i] -= alpha * h[i];
    }
    rr = dot(n, r, r);
    for (size_t i = 0; i < n; i++) d[i] = r[i] + rr / before * d[i];
  }
}

int main(int count, char **words) {
  size_t n = count > 1 ? (size_t)atol(words[1]) : 10;
  if (n < 2) return 3;
  size_t bytes = rosenbrock_hvp_work_bytes((int64_t)n), other = rosenbrock_value_and_grad_work_bytes((int64_t)n);
  void *work = room(bytes > other ? bytes : other);
  double *x = room(7 * n * sizeof *x), *g = x + n, *p = g + n, *r = p + n, *d = r + n, *h = d + n, *next = h + n, value;

  for (size_t i = 0; i < n; i++) x[i] = i % 2 ? 1.0 : -1.2;
  for (int step = 0; step < 1000; step++) {
    check(rosenbrock_value_and_grad((int64_t)n, x, &value, g, work));
    double length = sqrt(dot(n, g, g));
    if (step % 10 == 0 || length < 1e-9) printf("step %3d   value %.3e   gradient %.3e\n", step, value, length);
    if (length < 1e-9) return 0;
    newton_direction(n, x, g, p, r, d, h, work);
    double slope = dot(n, g, p), size = 1, reached;
    do {
      for (size_t i = 0; i < n; i++) next[i] = x[i] + size * p[i];
      check(rosenbrock_value((int64_t)n, next, &reached, work));
      size /= 2;
    } while (reached > value + 2e-4 * size * slope && size > 1e-12);
    memcpy(x, next, n * sizeof *x);
  }
  return 4;
}
