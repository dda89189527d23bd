extension Architecture {
  /// The text model of the Gemma 4 that takes pictures and sound without towers.
  static let gemma4Unified = gemma4(
    modelTypes: ["gemma4_unified_text", "gemma4_unified"], isWhole: false,
    suppressesTokens: true)
}
