extension [Float] {
  /// The bit patterns of the floats, for comparisons that distinguish zeros and NaNs.
  package var bits: [UInt32] { map(\.bitPattern) }
}
