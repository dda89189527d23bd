internal import Kernels

extension Mix {
  /// Every mix that Pleat makes, the smallest types first.
  ///
  /// The rules are those of `llama_tensor_get_type_impl` in llama.cpp. Rules that all mixes share
  /// are in `MixChooser`.
  package static let all: [Mix] = [
    Mix("TQ1_0", 36, .tq1_0),
    Mix("TQ2_0", 37, .tq2_0),
    Mix(
      "Q2_K_S", 21, .q2_K, needsMatrix: true,
      [
        MixRule(.values, .sharedKeys, .q4_K),
        MixRule(.down, .firstPart(8), .q4_K),
      ]),
    Mix(
      "Q2_K", 10, .q2_K, outputForEightExperts: .q5_K,
      [
        MixRule(.values, .sharedKeys, .q4_K),
        MixRule(.values, .always, .q3_K),
        MixRule(.attentionOutput, .always, .q3_K, in: .othersThanFalcon),
        MixRule(.down, .always, .q3_K),
      ]),
    Mix("Q3_K_S", 11, .q3_K, outputForEightExperts: .q5_K),
    Mix(
      "Q3_K_M", 12, .q3_K, outputForEightExperts: .q5_K,
      [
        MixRule(.values, .first(2), .q5_K),
        MixRule(.values, .always, .q4_K),
        MixRule(.attentionOutput, .always, .q4_K, in: .othersThanFalcon),
        MixRule(.down, .firstPart(16), .q5_K),
        MixRule(.down, .always, .q4_K, in: .othersThanFalcon),
        MixRule(.down, .endsAndThirds, .q4_K, in: .falcon),
      ]),
    Mix(
      "Q3_K_L", 13, .q3_K,
      [
        MixRule(.values, .always, .q5_K),
        MixRule(.attentionOutput, .always, .q5_K, in: .othersThanFalcon),
        MixRule(.attentionOutput, .always, .q4_K, in: .falcon),
        MixRule(.down, .always, .q5_K, in: .othersThanFalcon),
        MixRule(.down, .always, .q4_K, in: .falcon),
      ]),
    Mix("IQ4_XS", 30, .iq4_XS, outputForEightExperts: .q5_K, nonlinear),
    Mix("IQ4_NL", 25, .iq4_NL, outputForEightExperts: .q5_K, nonlinear),
    Mix("MXFP4_MOE", 38, .mxfp4),
    Mix("Q4_0", 2, .q4_0, [MixRule(.down, .firstPart(8), .q4_1, if: .withMatrix)]),
    Mix("Q4_1", 3, .q4_1),
    Mix(
      "Q4_K_S", 14, .q4_K, outputForEightExperts: .q5_K,
      [
        MixRule(.values, .first(4), .q5_K),
        MixRule(.down, .firstPart(8), .q5_K, in: .othersThanFalcon),
      ]),
    Mix(
      "Q4_K_M", 15, .q4_K, outputForEightExperts: .q5_K,
      [
        MixRule(.values, .endsAndThirds, .q6_K),
        MixRule(.down, .endsAndThirds, .q6_K, in: .othersThanFalcon),
        MixRule(.down, .firstPart(16), .q6_K, in: .falcon),
        MixRule(.down, .endsAndThirds, .q5_K, in: .falcon),
      ]),
    Mix("Q5_0", 8, .q5_0, [MixRule(.down, .firstPart(8), .q5_1, if: .withMatrix)]),
    Mix("Q5_1", 9, .q5_1),
    Mix("Q5_K_S", 16, .q5_K),
    Mix(
      "Q5_K_M", 17, .q5_K,
      [
        MixRule(.values, .endsAndThirds, .q6_K),
        MixRule(.down, .endsAndThirds, .q6_K),
      ]),
    Mix("Q6_K", 18, .q6_K),
    Mix("Q8_0", 7, .q8_0),
  ]

  private static let nonlinear = [
    MixRule(.values, .sharedKeys, .q5_K),
    MixRule(.down, .firstPart(8), .q5_K, if: .withoutMatrix),
  ]

  /// Other names that llama-quantize accepts.
  static let aliases = ["Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"]

  /// The mixes that Pleat does not make, with the nearest that it makes.
  ///
  /// Pleat reads their blocks, but has no search for indices into codebooks, and none for the others.
  static let unwritten: [(name: String, fileType: UInt32, nearest: String)] = [
    ("IQ1_S", 24, "Q2_K"), ("IQ1_M", 31, "Q2_K"), ("IQ2_XXS", 19, "Q2_K"), ("IQ2_XS", 20, "Q2_K"),
    ("IQ2_S", 28, "Q2_K"), ("IQ2_M", 29, "Q2_K"), ("IQ3_XXS", 23, "Q3_K_S"),
    ("IQ3_XS", 22, "Q3_K_S"), ("IQ3_S", 26, "Q3_K_S"), ("IQ3_M", 27, "Q3_K_M"),
    ("Q1_0", 40, "TQ1_0"), ("Q2_0", 41, "Q2_K"), ("NVFP4", 39, "MXFP4_MOE"),
  ]
}
