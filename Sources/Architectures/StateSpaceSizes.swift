internal import Bytes
internal import TensorModel

/// The keys of a config for layers with states, as those of Mamba 2 (arXiv 2405.21060).
package struct StateSpaceKeys: Sendable {
  /// What stands before the names of their tensors in a layer.
  var path = "mamba"
  /// The number of heads.
  var headCount = "mamba_n_heads"
  /// The rows of a head; nil if they follow from `innerSize`.
  var headSize: String?
  /// The rows of all heads; nil if they follow from `headSize`, or from the factor.
  var innerSize: String?
  /// How many times as many rows as the model is wide all heads have, if the other keys are nil.
  var factor = "mamba_expand"
  /// The number of groups of heads, which share a matrix B and a matrix C.
  var groupCount = "mamba_n_groups"
  /// The numbers of a state in each row.
  var stateSize = "mamba_d_state"
  /// The number of positions that the convolution sees.
  var kernelSize = "mamba_d_conv"
  /// The rows of a head, for transformers alone: they follow from other keys.
  var statedHeadSize: String?

  /// The keys of Mamba 2 itself.
  static let mamba2 = StateSpaceKeys(
    path: "mixer", headCount: "num_heads", factor: "expand", groupCount: "n_groups",
    stateSize: "state_size", kernelSize: "conv_kernel", statedHeadSize: "head_dim")
}

/// The sizes of layers with states.
package struct StateSpaceSizes: Sendable, Hashable {
  /// What stands before the names of their tensors in a layer.
  let path: String
  /// The number of heads.
  package let headCount: Int
  /// The rows of all heads, a multiple of the heads and of the groups.
  package let innerSize: Int
  /// The number of groups of heads.
  package let groupCount: Int
  /// The numbers of a state in each row.
  package let stateSize: Int
  /// The number of positions that the convolution sees.
  package let kernelSize: Int

  /// The rows of B and of C.
  var groupRowCount: Int { groupCount * stateSize }
  /// The rows of the heads, of B and of C, which are the channels of the convolution.
  var channelCount: Int { innerSize + 2 * groupRowCount }
  /// The rows of the first projection: gates, channels, and a time step for each head.
  var projectedCount: Int { innerSize + channelCount + headCount }

  /// Reads the sizes that a config states.
  ///
  /// Throws `malformed` for values that are missing or invalid, and `limit` for those that are too
  /// large.
  init(_ values: ConfigValues, _ keys: StateSpaceKeys) throws(ModelError) {
    path = keys.path
    headCount = try values.extent(keys.headCount)
    groupCount = try values.extent(keys.groupCount)
    stateSize = try values.extent(keys.stateSize)
    kernelSize = try values.extent(keys.kernelSize)
    let (key, count): (String, Int)
    if let inner = keys.innerSize {
      (key, count) = (inner, try values.extent(inner))
    } else if let size = keys.headSize {
      (key, count) = (size, headCount * (try values.extent(size)))
    } else {
      let width = try values.extent("hidden_size")
      (key, count) = (keys.factor, width * (try values.extent(keys.factor)))
    }
    try ModelSizes.check(count, atMost: 1 << 20, "rows", key)
    guard count % headCount == 0, count % groupCount == 0, headCount % groupCount == 0 else {
      throw ConfigValues.fault(
        key, "\(headCount) heads in \(groupCount) groups", JSONValue(count))
    }
    innerSize = count
  }

  /// Reads the sizes that the metadata of a GGUF file states.
  ///
  /// Throws `malformed` for values that are missing or invalid, and `limit` for those that are too
  /// large.
  init(_ values: GGUFValues, _ keys: StateSpaceKeys) throws(ModelError) {
    path = keys.path
    headCount = try values.extent("ssm.time_step_rank")
    groupCount = try values.extent("ssm.group_count")
    stateSize = try values.extent("ssm.state_size")
    kernelSize = try values.extent("ssm.conv_kernel")
    innerSize = try values.extent("ssm.inner_size")
    guard innerSize % headCount == 0, innerSize % groupCount == 0, headCount % groupCount == 0
    else {
      throw ModelError(
        .malformed, "the rows of states are not those of their heads and groups",
        tensor: "ssm.inner_size", expected: "\(headCount) heads in \(groupCount) groups",
        found: "\(innerSize)")
    }
  }

  /// The extents of one of their tensors, as llama.cpp arranges it; nil for other tensors.
  func extents(
    of stem: String, _ hidden: ExpectedShape.Extent
  ) -> [ExpectedShape.Extent]? {
    typealias Extent = ExpectedShape.Extent
    guard stem.hasPrefix(path + ".") else { return nil }
    let heads = Extent(count: headCount, formula: "heads of states")
    let inner = Extent(count: innerSize, formula: "rows of states")
    let one = Extent(count: 1, formula: "1")
    let channels = Extent(count: channelCount, formula: "rows of states, B and C")
    switch stem.dropFirst(path.utf8.count + 1) {
    case "in_proj":
      return [
        Extent(count: projectedCount, formula: "rows of gates, states, B, C and steps"), hidden,
      ]
    case "conv1d":
      return [channels, Extent(count: kernelSize, formula: "width of the convolution")]
    case "A_log", "D": return [heads, one]
    case "dt_bias": return [heads]
    case "norm":
      return [
        Extent(count: groupCount, formula: "groups"),
        Extent(count: innerSize / groupCount, formula: "rows of a group"),
      ]
    case "out_proj": return [hidden, inner]
    default: return nil
    }
  }
}
