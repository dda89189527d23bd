internal import Architectures
internal import Kernels
internal import TensorModel

/// How layers with states divide their numbers into heads.
///
/// Every head of values has a state of its own; several of them share a query and a key.
struct Recurrence: Sendable {
  /// The number of heads of values.
  let headCount: Int
  /// The number of heads of queries, and of keys.
  let keyHeadCount: Int
  let head: StateHead
  /// The number of positions that the convolution sees.
  let kernelSize: Int
  /// Which heads of values share a key: those in turn, or else neighbours.
  let alternates: Bool
  private let order: Order

  /// The order of the channels of the convolution.
  private enum Order: Sendable {
    case queriesKeysValues
    case valuesKeysQueries
  }

  /// The rows of queries, and of keys, of all heads.
  var keyCount: Int { keyHeadCount * head.keySize }
  /// The rows of values of all heads.
  var valueCount: Int { headCount * head.valueSize }
  /// The channels of the convolution: queries, keys and values.
  var channelCount: Int { 2 * keyCount + valueCount }

  /// Linear attention by the gated delta rule.
  ///
  /// `alternates` is whether heads of values have the order of llama.cpp for Qwen 3.5.
  init(_ sizes: LinearAttentionSizes, alternates: Bool) {
    headCount = sizes.valueHeadCount
    keyHeadCount = sizes.keyHeadCount
    head = StateHead(keySize: sizes.headSize, valueSize: sizes.headSize, corrects: true)
    kernelSize = sizes.kernelSize
    self.alternates = alternates
    order = .queriesKeysValues
  }

  /// Mamba 2: keys and queries are the matrices B and C of a group of heads.
  init(_ sizes: StateSpaceSizes) {
    headCount = sizes.headCount
    keyHeadCount = sizes.groupCount
    head = StateHead(
      keySize: sizes.stateSize, valueSize: sizes.innerSize / sizes.headCount, corrects: false)
    kernelSize = sizes.kernelSize
    alternates = false
    order = .valuesKeysQueries
  }

  /// The most numbers that the states of a layer may have: 1 GiB.
  private static let limit = 1 << 28

  /// Throws `limit` for states that are too large.
  func check() throws(ModelError) {
    guard headCount * head.stateCount > Self.limit else { return }
    throw ModelError(
      .limit, "the states of a layer are too large", expected: "at most \(Self.limit) numbers",
      found: "\(headCount) heads of \(head.keySize)×\(head.valueSize)")
  }

  /// Where the numbers of a head of values are among the channels.
  func columns(ofHead index: Int) -> StateHead.Columns {
    let keyHead = alternates ? index % keyHeadCount : index / (headCount / keyHeadCount)
    let (key, value) = (keyHead * head.keySize, index * head.valueSize)
    return switch order {
    case .queriesKeysValues:
      StateHead.Columns(query: key, key: keyCount + key, value: 2 * keyCount + value)
    case .valuesKeysQueries:
      StateHead.Columns(
        query: valueCount + keyCount + key, key: valueCount + key, value: value)
    }
  }
}

/// What a layer with states keeps of a text, however long it is.
struct RecurrentState: Sendable {
  /// The last inputs of the convolution, the earliest first: positions − 1 × channels.
  let inputs: FloatMatrix
  /// The state of each head.
  let heads: FloatMatrix

  init(_ sizes: Recurrence) {
    inputs = FloatMatrix(rowCount: sizes.kernelSize - 1, columnCount: sizes.channelCount)
    heads = FloatMatrix(rowCount: sizes.headCount, columnCount: sizes.head.stateCount)
  }

  /// The number of bytes that it takes.
  static func byteCount(_ sizes: Recurrence) -> Int {
    let count =
      (sizes.kernelSize - 1) * sizes.channelCount + sizes.headCount * sizes.head.stateCount
    return MemoryLayout<Float>.stride * count
  }
}
