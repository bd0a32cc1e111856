/* The cell of two_rc.py in C: the same equations in the same order. */
#include <math.h>

#define FARADAY_PER_GAS_K (96485.33212 / 8.31446261815324)
#define ROOM_K 298.15
#define SECONDS_PER_HOUR 3600.0

typedef struct {
    double soc, temperature_K, fast_V, slow_V;
} State;

typedef struct {
    double capacity_Ah, r0_Ohm, exchange_A, activation_K, heat_J_per_K, loss_W_per_K;
    double fast_Ohm, fast_tau_s, slow_Ohm, slow_tau_s;
} Parameters;

static double ocv_V(double soc) { return 3.45 + 0.85 * soc - 0.12 * tanh(30.0 * (0.03 - soc)); }

static double arrhenius(const State *s, const Parameters *p) {
    return exp(p->activation_K * (1.0 / s->temperature_K - 1.0 / ROOM_K));
}

double two_rc_step(State *s, const Parameters *p, double current_A, double dt_s, double ambient_K) {
    double factor = arrhenius(s, p);
    s->soc += current_A * dt_s / (SECONDS_PER_HOUR * p->capacity_Ah);
    double fast_V = current_A * p->fast_Ohm * factor;
    s->fast_V = fast_V + (s->fast_V - fast_V) * exp(-dt_s / p->fast_tau_s);
    double slow_V = current_A * p->slow_Ohm * factor;
    s->slow_V = slow_V + (s->slow_V - slow_V) * exp(-dt_s / p->slow_tau_s);
    double heat_W = current_A * (current_A * p->r0_Ohm * factor + s->fast_V + s->slow_V);
    double steady_K = ambient_K + heat_W / p->loss_W_per_K;
    double keep = exp(-dt_s * p->loss_W_per_K / p->heat_J_per_K);
    s->temperature_K = steady_K + (s->temperature_K - steady_K) * keep;

    factor = arrhenius(s, p);
    double transfer_V = 2.0 * s->temperature_K / FARADAY_PER_GAS_K *
                        asinh(0.5 * current_A * factor / p->exchange_A);
    return ocv_V(s->soc) + current_A * p->r0_Ohm * factor + s->fast_V + s->slow_V + transfer_V;
}

/* Cycle between two voltages; the current is decided at each step from the last voltage. */
double two_rc_cycle(State *s, const Parameters *p, long steps, double magnitude_A, double lower_V,
                    double upper_V, double dt_s, double ambient_K) {
    double voltage_V = lower_V, current_A = magnitude_A;
    for (long step = 0; step < steps; ++step) {
        if (!(voltage_V < upper_V))
            current_A = -magnitude_A;
        else if (!(voltage_V > lower_V))
            current_A = magnitude_A;
        voltage_V = two_rc_step(s, p, current_A, dt_s, ambient_K);
    }
    return voltage_V;
}
