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
EXP2_F32 = (  # degree 4, error 2^-27.9
    H("0x1.ebfbdc0000000p-3"),
    H("0x1.c6af860000000p-5"),
    H("0x1.3b2e160000000p-7"),
    H("0x1.5f055e0000000p-10"),
    H("0x1.414a9e0000000p-13"),
)
EXP2_F64 = (  # degree 9, error 2^-56.9
    H("0x1.ebfbdff82c5a1p-3"),
    H("0x1.c6b08d704a043p-5"),
    H("0x1.3b2ab6fba0672p-7"),
    H("0x1.5d87fe78c3eefp-10"),
    H("0x1.4309130e065dap-13"),
    H("0x1.ffcbfbc5f6e15p-17"),
    H("0x1.62bfc94261a23p-20"),
    H("0x1.b5265540d71e1p-24"),
    H("0x1.e61901e583eccp-28"),
    H("0x1.e7c589f1e786cp-32"),
)
SINH_F32 = (  # degree 2, error 2^-30.9
    H("0x1.5555560000000p-3"),
    H("0x1.1110b20000000p-7"),
    H("0x1.a1708e0000000p-13"),
)
SINH_F64 = (  # degree 4, error 2^-61.0
    H("0x1.5555555555559p-3"),
    H("0x1.111111110f67ep-7"),
    H("0x1.a01a01affacccp-13"),
    H("0x1.71ddf8172fefcp-19"),
    H("0x1.af5f31db515d5p-26"),
)
COSH_F32 = (  # degree 1, error 2^-33.2
    H("0x1.5554e60000000p-5"),
    H("0x1.6d4f7a0000000p-10"),
)
COSH_F64 = (  # degree 4, error 2^-68.7
    H("0x1.5555555555558p-5"),
    H("0x1.6c16c16c15018p-10"),
    H("0x1.a01a01ad76292p-16"),
    H("0x1.27e4cc22d2d46p-22"),
    H("0x1.1f8bc3d6286ecp-29"),
)
TAN_F32 = (  # degree 6, error 2^-28.3
    H("0x1.5555620000000p-2"),
    H("0x1.110d2a0000000p-3"),
    H("0x1.baecd20000000p-5"),
    H("0x1.5c07460000000p-6"),
    H("0x1.6660180000000p-7"),
    H("-0x1.24a8a00000000p-15"),
    H("0x1.22baa00000000p-8"),
)
ATAN_F32 = (  # degree 8, error 2^-26.6
    H("-0x1.5555400000000p-2"),
    H("0x1.9992760000000p-3"),
    H("-0x1.2426fc0000000p-3"),
    H("0x1.c0d2a20000000p-4"),
    H("-0x1.58dcbe0000000p-4"),
    H("0x1.dd0fa20000000p-5"),
    H("-0x1.01b02c0000000p-5"),
    H("0x1.6a90ac0000000p-7"),
    H("-0x1.df00400000000p-10"),
)
ATAN_F64 = (  # degree 10, error 2^-58.4
    H("-0x1.555555555553dp-2"),
    H("0x1.99999999958eep-3"),
    H("-0x1.24924922b12cdp-3"),
    H("0x1.c71c70e7a5c63p-4"),
    H("-0x1.745cf90b649fep-4"),
    H("0x1.3b111c686a6aep-4"),
    H("-0x1.10ebddc09af4bp-4"),
    H("0x1.df11690f5937fp-5"),
    H("-0x1.9cdc2cb22601ep-5"),
    H("0x1.37ed4ce1ec90cp-5"),
    H("-0x1.259d614003d5ap-6"),
)
ASIN_F32 = (  # degree 5, error 2^-30.1
    H("0x1.55554c0000000p-3"),
    H("0x1.33388e0000000p-4"),
    H("0x1.6cac3e0000000p-5"),
    H("0x1.04a63c0000000p-5"),
    H("0x1.d7f3d60000000p-7"),
    H("0x1.33bb460000000p-5"),
)
ASIN_F64 = (  # degree 12, error 2^-58.7
    H("0x1.5555555555578p-3"),
    H("0x1.333333332df89p-4"),
    H("0x1.6db6db72259fap-5"),
    H("0x1.f1c71a8de59e8p-6"),
    H("0x1.6e8bdfa34436ap-6"),
    H("0x1.1c49e2e9d3b61p-6"),
    H("0x1.ca20caa3e9dd7p-7"),
    H("0x1.757b8ef9faed0p-7"),
    H("0x1.6173a29f31f02p-7"),
    H("0x1.e2c1675b711e5p-9"),
    H("0x1.64925939cea5ep-6"),
    H("-0x1.5954b625a8b49p-6"),
    H("0x1.0bb0a3b4312e1p-5"),
)
ERF_F32 = (  # degree 6, error 2^-30.0
    H("0x1.06eba80000000p-3"),
    H("-0x1.8127440000000p-2"),
    H("0x1.ce2e5e0000000p-4"),
    H("-0x1.b8160c0000000p-6"),
    H("0x1.5513040000000p-8"),
    H("-0x1.acf09e0000000p-11"),
    H("0x1.660eb40000000p-14"),
)
ERF_F64 = (  # degree 12, error 2^-56.1
    H("0x1.06eba8214db69p-3"),
    H("-0x1.812746b0379e6p-2"),
    H("0x1.ce2f21a042b2fp-4"),
    H("-0x1.b82ce31284e1ap-6"),
    H("0x1.565bcd0dbb509p-8"),
    H("-0x1.c02db3daefac0p-11"),
    H("0x1.f9a321db9c403p-14"),
    H("-0x1.f4d1e395d84f8p-17"),
    H("0x1.b9df2908e990ap-20"),
    H("-0x1.5f1f07377d623p-23"),
    H("0x1.f7b756fcdc1c9p-27"),
    H("-0x1.38a57fe78ade5p-30"),
    H("0x1.0616538aa6fe8p-34"),
)
ERFC_F32 = (  # degree 8, error 2^-26.6
    H("-0x1.d97fc00000000p+0"),
    H("-0x1.51c9b00000000p+1"),
    H("-0x1.afabc40000000p-1"),
    H("-0x1.5478ac0000000p-5"),
    H("0x1.48faac0000000p-7"),
    H("-0x1.063d6a0000000p-9"),
    H("0x1.2584520000000p-12"),
    H("-0x1.27db540000000p-16"),
    H("-0x1.639ae20000000p-21"),
)
ERFC_F64 = (  # degree 12, error 2^-60.8
    H("0x1.afbb3f3b7343dp-3"),
    H("-0x1.7ca88dec21848p-2"),
    H("0x1.01c11a735b6fbp-2"),
    H("-0x1.00115437243f9p-3"),
    H("0x1.470ba1fd4d004p-5"),
    H("-0x1.05bb2ccc4ae63p-8"),
    H("-0x1.5a56fe0b4ede1p-9"),
    H("0x1.cb39c954b5e11p-11"),
    H("0x1.de9649bbff18cp-13"),
    H("-0x1.0ff06319131a2p-13"),
    H("-0x1.2e9cad56e8f54p-15"),
    H("0x1.13c20e5fee96dp-16"),
    H("0x1.f05448fb7ed07p-18"),
)
