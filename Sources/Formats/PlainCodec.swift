package import TensorModel

/// The codec of a plain checkpoint: every weight is one tensor of plain numbers.
package struct PlainCodec: WeightCodec {
  /// Creates the codec.
  package init() {}

  package func admission(of encoding: Encoding) -> Admission {
    switch encoding {
    case .plain: .exact
    case .grouped, .scaled: .refused("safetensors checkpoints hold plain numbers")
    case .foreign(let type): .refused("safetensors has no type \(type.name)")
    }
  }

  package func parts(of info: TensorInfo) -> [StoredTensor] { plainParts(of: info) }

  package func gather(_ stored: StoredContents) -> [GatheredTensor] {
    stored.gathered([:])
  }

  package func write(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int) {
    preconditionFailure("not admitted")
  }

  package func read(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows) {
    preconditionFailure("never gathered")
  }
}
