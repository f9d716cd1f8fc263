"""The only access to the storage: R2, S3 or a local folder.

Nothing else in the project opens a bucket or joins a key to a folder.
"""

from media_library.storage.connection_test import CheckResult as CheckResult
from media_library.storage.connection_test import examine as examine
from media_library.storage.connection_test import holds_nothing as holds_nothing
from media_library.storage.connection_test import unreachable as unreachable
from media_library.storage.errors import ChangedError as ChangedError
from media_library.storage.errors import NotInStorageError as NotInStorageError
from media_library.storage.errors import StorageError as StorageError
from media_library.storage.errors import TakenError as TakenError
from media_library.storage.errors import WrongKeyError as WrongKeyError
from media_library.storage.errors import sentence as sentence
from media_library.storage.list_objects import RESERVED as RESERVED
from media_library.storage.list_objects import keys_below as keys_below
from media_library.storage.list_objects import listing as listing
from media_library.storage.multipart import MultipartUpload as MultipartUpload
from media_library.storage.multipart import abort_stale_uploads as abort_stale_uploads
from media_library.storage.multipart import abort_upload as abort_upload
from media_library.storage.multipart import begin_upload as begin_upload
from media_library.storage.multipart import finish_upload as finish_upload
from media_library.storage.multipart import origin as origin
from media_library.storage.multipart import part_url as part_url
from media_library.storage.multipart import store_part as store_part
from media_library.storage.objects import Facts as Facts
from media_library.storage.objects import delete as delete
from media_library.storage.objects import download as download
from media_library.storage.objects import exists as exists
from media_library.storage.objects import facts as facts
from media_library.storage.objects import locate as locate
from media_library.storage.objects import read as read
from media_library.storage.objects import upload as upload
