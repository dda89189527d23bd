extension [Float] {
  /// The patterns of the floats, for comparisons that tell zeros and NaNs apart.
  package var bits: [UInt32] { map(\.bitPattern) }
}
