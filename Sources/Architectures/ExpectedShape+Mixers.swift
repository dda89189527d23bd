extension ModelSizes {
  /// The extents of a tensor of a short convolution or of a layer with states; nil for other tensors.
  func mixerExtents(
    of stem: String, _ hidden: ExpectedShape.Extent
  ) -> [ExpectedShape.Extent]? {
    typealias Extent = ExpectedShape.Extent
    if let found = stateSpace?.extents(of: stem, hidden) { return found }
    guard let kernelSize = shortConvolutionSize else { return nil }
    switch stem {
    case "conv.conv": return [hidden, Extent(count: kernelSize, formula: "conv_L_cache")]
    case "conv.in_proj":
      return [Extent(count: 3 * hidden.count, formula: "3 · hidden_size"), hidden]
    case "conv.out_proj": return [hidden, hidden]
    default: return nil
    }
  }
}
