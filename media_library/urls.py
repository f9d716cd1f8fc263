from django.urls import path

from media_library.views import (
    download_tool,
    downloads,
    editor,
    exchange,
    items,
    picker,
    pictures,
    syncs,
    uploads,
)

urlpatterns = [
    path("media/thumb/<int:pk>.jpg", pictures.thumb, name="media-thumb"),
    path("media/items.json", picker.items, name="media-items"),
    path("media/folders.json", picker.folders, name="media-folders"),
    path("media/items/<int:pk>/retry/", items.retry, name="media-retry"),
    path("media/copies/<int:pk>/cancel/", items.cancel, name="media-cancel"),
    path("media/playlists/<int:pk>/entries.json", editor.entries, name="media-entries"),
    path("media/playlists/<int:pk>/save/", editor.save, name="media-save"),
    path("media/playlists/<int:pk>/export.<str:kind>", exchange.export, name="media-export"),
    # Under /admin/, so that the pages use the admin's layout.
    path("admin/media/import/", exchange.import_new, name="media-import-new"),
    path("admin/media/playlists/<int:pk>/import/", exchange.import_into, name="media-import"),
    path("admin/media/upload/", uploads.page, name="media-upload"),
    path("media/uploads/", uploads.begin, name="media-begin"),
    path("media/uploads/address/", uploads.address, name="media-address"),
    path("media/uploads/part/<int:number>/", uploads.part, name="media-part"),
    path("media/uploads/finish/", uploads.finish, name="media-finish"),
    path("media/uploads/abort/", uploads.abort, name="media-abort"),
    path("admin/media/download/", downloads.page, name="media-download"),
    path("admin/media/download-tool/", download_tool.page, name="media-download-tool"),
    path("media/downloads/status.json", downloads.status, name="media-downloads-status"),
    path("media/downloads/<int:pk>/cancel/", downloads.cancel, name="media-download-cancel"),
    path("media/downloads/<int:pk>/retry/", downloads.retry, name="media-download-retry"),
    path(
        "media/downloads/batches/<int:pk>/cancel/",
        downloads.cancel_batch,
        name="media-download-batch-cancel",
    ),
    path("media/sync/status.json", syncs.status, name="media-sync-status"),
    path("media/sync/start/", syncs.start, {"dry": False}, name="media-sync"),
    path("media/sync/dry/", syncs.start, {"dry": True}, name="media-sync-dry"),
    path("admin/media/sync/accept-gone/", syncs.accept_gone, name="media-sync-accept"),
    path("admin/media/connection/", syncs.test_connection, name="media-connection"),
]
