package import Architectures
internal import Bytes
package import TensorModel

/// How the tensors of a model become those of another runtime.
package protocol Translation: Sendable {
  /// The runtime.
  var runtime: Runtime { get }
  /// What each tensor becomes; nil for tensors that are left out.
  var placements: [TensorPlacement?] { get }
  /// The metadata of the output; nil if it keeps that of the model.
  var newMetadata: Metadata? { get }
  /// The tensors that are written besides these.
  var additions: [TensorAddition] { get }
  /// The metadata that tensors of the checkpoint become.
  var tensorMetadata: Metadata { get }
  /// Notes for the user.
  var notes: [String] { get }
}

/// A tensor that a runtime needs and the checkpoint does not contain.
package struct TensorAddition: Sendable {
  /// The tensor to write.
  package var stored: StoredTensor
  /// Its bytes.
  package var bytes: [UInt8]

  package init(stored: StoredTensor, bytes: [UInt8]) {
    self.stored = stored
    self.bytes = bytes
  }

  /// A tensor of F32 numbers; nil if there are not as many as the dimensions say.
  init?(_ name: String, _ dimensions: [Int], _ numbers: some Collection<Float>) {
    guard let shape = Shape(validating: dimensions), shape.elementCount == numbers.count,
      let stored = StoredTensor(plain: name, shape, .f32)
    else { return nil }
    self.stored = stored
    bytes = []
    bytes.reserveCapacity(4 * numbers.count)
    for number in numbers { bytes.append(littleEndian: number.bitPattern) }
  }
}

extension Translation {
  package var newMetadata: Metadata? { nil }
  package var additions: [TensorAddition] { [] }
  package var tensorMetadata: Metadata { Metadata() }
  package var notes: [String] { [] }
}
