"""Coefficients of the polynomials in `expand_math`, lowest power first. Printed by `benchmarks/fit_coefficients.py`.

The last figure is the largest error on the interval of the fit, relative to the function the polynomial serves.
"""

H = float.fromhex

EXP_F32 = (  # degree 4, error 2^-27.7
    H("0x1.fffffc0000000p-2"),
    H("0x1.5554900000000p-3"),
    H("0x1.5558f80000000p-5"),
    H("0x1.123a6a0000000p-7"),
    H("0x1.6a20940000000p-10"),
)
EXP_F64 = (  # degree 9, error 2^-56.5
    H("0x1.000000000000ap-1"),
    H("0x1.55555555554f9p-3"),
    H("0x1.55555555507f2p-5"),
    H("0x1.1111111127eadp-7"),
    H("0x1.6c16c1844aa96p-10"),
    H("0x1.a01a0129a4dd4p-13"),
    H("0x1.a01999ae9f8efp-16"),
    H("0x1.71df265033836p-19"),
    H("0x1.28adcdced9b71p-22"),
    H("0x1.ad7ec961474d9p-26"),
)
EXPM1_F32 = (  # degree 5, error 2^-28.8
    H("0x1.0000000000000p-1"),
    H("0x1.5555560000000p-3"),
    H("0x1.5554ae0000000p-5"),
    H("0x1.11108e0000000p-7"),
    H("0x1.6d75280000000p-10"),
    H("0x1.a1a27a0000000p-13"),
)
EXPM1_F64 = (  # degree 10, error 2^-60.8
    H("0x1.0000000000000p-1"),
    H("0x1.5555555555559p-3"),
    H("0x1.555555555555ap-5"),
    H("0x1.111111110f67cp-7"),
    H("0x1.6c16c16c143eep-10"),
    H("0x1.a01a01affc007p-13"),
    H("0x1.a01a01b0d365ep-16"),
    H("0x1.71ddf8142cbb9p-19"),
    H("0x1.27e4c568a796cp-22"),
    H("0x1.af5f36efff358p-26"),
    H("0x1.1f95b54330157p-29"),
)
LOG_F32 = (  # degree 7, error 2^-27.0
    H("0x1.55553a0000000p-2"),
    H("-0x1.0001f00000000p-2"),
    H("0x1.99b1320000000p-3"),
    H("-0x1.5492de0000000p-3"),
    H("0x1.21683a0000000p-3"),
    H("-0x1.0a9d640000000p-3"),
    H("0x1.0e83920000000p-3"),
    H("-0x1.60c90c0000000p-4"),
)
LOG_F64 = (  # degree 6, error 2^-58.0
    H("0x1.5555555555592p-1"),
    H("0x1.999999997fdcbp-2"),
    H("0x1.24924941f139cp-2"),
    H("0x1.c71c5208a3678p-3"),
    H("0x1.74663f25aa556p-3"),
    H("0x1.39a1b2f5b5616p-3"),
    H("0x1.2f05bcc565033p-3"),
)
TANH_F32 = (  # degree 2, error 2^-28.2
    H("0x1.3333140000000p+0"),
    H("-0x1.75c8100000000p-8"),
    H("0x1.ea8ec00000000p-13"),
)
TANH_F64 = (  # degree 5, error 2^-57.6
    H("0x1.3333333333107p+0"),
    H("-0x1.767dce3e90ac4p-8"),
    H("0x1.0a4e11aeea81cp-12"),
    H("-0x1.9979a8d4a57a4p-17"),
    H("0x1.40d07b215c8f9p-21"),
    H("-0x1.d85de13992d27p-26"),
)
SIN_F32 = (  # degree 2, error 2^-27.2
    H("-0x1.5555460000000p-3"),
    H("0x1.11074c0000000p-7"),
    H("-0x1.9947d40000000p-13"),
)
SIN_F64 = (  # degree 5, error 2^-56.4
    H("-0x1.5555555555549p-3"),
    H("0x1.111111110f803p-7"),
    H("-0x1.a01a019c01ee3p-13"),
    H("0x1.71de35698e195p-19"),
    H("-0x1.ae5e5abb54358p-26"),
    H("0x1.5d8f8f56c877fp-33"),
)
COS_F32 = (  # degree 2, error 2^-31.1
    H("0x1.55554a0000000p-5"),
    H("-0x1.6c0c760000000p-10"),
    H("0x1.99fc180000000p-16"),
)
COS_F64 = (  # degree 5, error 2^-59.5
    H("0x1.555555555554bp-5"),
    H("-0x1.6c16c16c150fbp-10"),
    H("0x1.a01a019ca45a2p-16"),
    H("-0x1.27e4f7ffddb4cp-22"),
    H("0x1.1ee9e4ceacf2ap-29"),
    H("-0x1.8faacee790b8bp-37"),
)
POW_LOG2_F64 = (  # degree 5, error 2^-43.6
    H("0x1.71547652b824bp+1"),
    H("0x1.ec709dc541785p-1"),
    H("0x1.2776c28f1d818p-1"),
    H("0x1.a61a3171db272p-2"),
    H("0x1.4794f85ebdeb9p-2"),
    H("0x1.21b5907ed987ep-2"),
)
POW_EXP2_F64 = (  # degree 6, error 2^-34.3
    H("0x1.62e42fef7b59ep-1"),
    H("0x1.ebfbe07c4d9c7p-3"),
    H("0x1.c6b08df50bb23p-5"),
    H("0x1.3b29ef65dfc0ap-7"),
    H("0x1.5d8722bced85dp-10"),
    H("0x1.445fc9bc92971p-13"),
    H("0x1.00f1d16df4f91p-16"),
)
POW_TAIL_F64 = (  # degree 7, error 2^-65.4
    H("0x1.9999999999996p-2"),
    H("0x1.2492492493034p-2"),
    H("0x1.c71c71c580708p-3"),
    H("0x1.745d18325073ap-3"),
    H("0x1.3b1362b684d22p-3"),
    H("0x1.1120b58ea46dfp-3"),
    H("0x1.de337435f9b00p-4"),
    H("0x1.eb10fdbb7166cp-4"),
)
